// Dot products of unsigned 8-bit activations with packed signed weights, on matrix tiles: 16 pixels (rows) by
// 64 bytes of activations against 64 bytes by 16 output channels of weights.
#pragma once

#include <cstdint>

namespace lowbit {

constexpr int TILE_ROWS = 16;                  // pixels of one tile
constexpr int STEP_BYTES = 64;                 // activations of one pixel that one step multiplies
constexpr int JOB_TILES = 6;                   // accumulator tiles that stay in registers
constexpr int JOB_BLOCKS = 4;                  // blocks of 16 output channels of one job
constexpr int TILE_SPARE = 16384;              // behind the unpacked weights of four steps and blocks:
constexpr int TILE_SCRATCH = TILE_SPARE + 64;  // 64 bytes that are written and never read

// Work that does not wait for the matrix unit, done while that is busy.
struct Meanwhile {
  void (*some)(Meanwhile*);  // a part of it; null: nothing is left
  // Called with the first block and their number when sums were stored; what was left before is done by then.
  void (*stored)(Meanwhile*, int block, int blocks);
};

struct TileJob {
  const uint8_t* const* x;  // [tiles] operands of the first row of each tile
  int64_t row_bytes;        // from one row to the next
  int rows;                 // of every tile, 1..TILE_ROWS; as given to open()
  const int64_t* steps;     // [count] bytes from the first operand of a row to those of each step
  int count;
  // [blocks][count][bits * 128]: the codes of 16 x [16 channels][4], see tile_bytes. 8 bits are operands
  // themselves.
  const uint8_t* w;
  int bits;              // 1, 2, 4 or 8
  const int8_t* table;   // [16] operand of each code, where bits is not 8
  int tiles;             // 1..JOB_TILES
  int blocks;            // 1..JOB_BLOCKS
  int32_t* out;          // [tiles][rows][stride]
  int64_t stride;        // in int32
  uint8_t* scratch;      // TILE_SCRATCH bytes, aligned to 64
  Meanwhile* meanwhile;  // null: nothing; only for kernels that say so
};

constexpr int64_t tile_bytes(int bits) { return bits * 128; }

// Where the code of byte `column` (4 * channel + k) of row `row` (quad of activations) of a weight tile is:
// byte index, and shift within the byte.
struct CodeAt {
  int64_t byte;
  int shift;
};

constexpr CodeAt code_at(int bits, int row, int column) {
  return bits == 8   ? CodeAt{row * 64 + column, 0}
         : bits == 4 ? CodeAt{row / 2 * 64 + column, row % 2 * 4}
         : bits == 2 ? CodeAt{row / 4 * 64 + column, row % 4 * 2}
                     : CodeAt{row * 8 + column / 8, column % 8};
}

struct TileKernel {
  void (*open)(int rows);  // before the jobs of one thread, all with tiles of that many rows
  void (*run)(const TileJob&);
  void (*close)();
  bool overlaps;  // reads TileJob::meanwhile
};

}  // namespace lowbit
