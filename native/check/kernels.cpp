// Kernels against their naive references on random tiles: operands that no grid produces included.
#include "check/kernels.h"

#include <cstring>
#include <vector>

#include "ops/bits/reference.h"
#include "ops/bits/select.h"
#include "ops/dot8/reference.h"
#include "ops/dot8/select.h"
#include "ops/floats/reference.h"
#include "ops/floats/select.h"
#include "ops/nibbles/reference.h"
#include "ops/nibbles/select.h"
#include "ops/tile8/reference.h"
#include "ops/tile8/select.h"

namespace lowbit {

namespace {

constexpr int STRIDE = TILE_BLOCKS * LANES;

// A random tile: memory of activations with pointers into it, and room for two results.
struct Tile {
  Tile(Random& random, int taps, int x_bytes) : memory(static_cast<size_t>(x_bytes + 64) * 7) {
    for (uint8_t& byte : memory) byte = static_cast<uint8_t>(random());
    for (int i = 0; i < taps * TILE_PIXELS; ++i)
      x.push_back(memory.data() + random() % 7 * static_cast<size_t>(x_bytes));
  }
  bool equal(int pixels, int blocks) const {
    for (int p = 0; p < pixels; ++p)
      for (int c = 0; c < blocks * LANES; ++c)
        if (got[static_cast<size_t>(p * STRIDE + c)] != want[static_cast<size_t>(p * STRIDE + c)])
          return false;
    return true;
  }
  std::vector<uint8_t> memory;
  std::vector<const uint8_t*> x;
  std::vector<int32_t> got = std::vector<int32_t>(TILE_PIXELS * STRIDE), want = got;
};

}  // namespace

bool check_dot8(Isa isa, Random& random) {
  const int taps = 1 + static_cast<int>(random() % 9), words = 1 + static_cast<int>(random() % 20);
  Tile tile(random, taps, words * 4);
  const bool fit = random() % 2;
  if (fit)
    for (uint8_t& byte : tile.memory) byte &= 127;  // 2 * 127 * 128 <= 32767
  const int64_t block = int64_t(taps) * words * 4 * LANES;
  std::vector<int8_t> w(static_cast<size_t>(block * TILE_BLOCKS));
  for (int8_t& value : w) value = static_cast<int8_t>(random());
  DotTile t{tile.x.data(),
            0,
            taps,
            words,
            w.data(),
            block,
            tile.got.data(),
            STRIDE,
            1 + static_cast<int>(random() % TILE_PIXELS),
            1 + static_cast<int>(random() % TILE_BLOCKS),
            fit};
  select_dot8(isa, fit).run(t);
  t.out = tile.want.data();
  dot8_reference(t);
  return tile.equal(t.pixels, t.blocks);
}

bool check_bits(Isa isa, Random& random) {
  const int taps = 1 + static_cast<int>(random() % 9), words = 1 + static_cast<int>(random() % 20);
  const int x_planes = 1 + static_cast<int>(random() % 8);
  const auto coding = static_cast<Coding>(random() % 3);
  const int planes = coding == Coding::mask ? 2 : 1 + static_cast<int>(random() % 8);
  Tile tile(random, taps, words * x_planes * 4);
  const int64_t block = int64_t(taps) * words * planes * LANES;
  std::vector<uint32_t> w(static_cast<size_t>(block * TILE_BLOCKS));
  for (uint32_t& value : w) value = random() % 4 ? static_cast<uint32_t>(random()) : 0xFFFFFFFFu;
  std::vector<int32_t> weight;
  for (int i = 0; i < planes; ++i) weight.push_back(static_cast<int32_t>(random() % 600) - 300);
  BitTile t{tile.x.data(),
            0,
            taps,
            words,
            x_planes,
            w.data(),
            block,
            planes,
            weight.data(),
            coding,
            tile.got.data(),
            STRIDE,
            1 + static_cast<int>(random() % TILE_PIXELS),
            1 + static_cast<int>(random() % TILE_BLOCKS)};
  select_bits(isa).run(t);
  t.out = tile.want.data();
  bits_reference(t);
  return tile.equal(t.pixels, t.blocks);
}

bool check_nibbles(Isa isa, Random& random) {
  // Now and then so many entries that sums leave bytes more often than 16 bits can hold.
  const bool many = random() % 16 == 0;
  const int taps = 1 + static_cast<int>(random() % 9),
            bytes = 1 + static_cast<int>(random() % (many ? 400 : 40));
  Tile tile(random, taps, bytes);
  const int64_t block = int64_t(taps) * bytes * 32;
  std::vector<uint8_t> w(static_cast<size_t>(block * TILE_BLOCKS));
  for (uint8_t& value : w) value = random() % 16;
  const int largest = 1 + static_cast<int>(random() % (many ? 1 : 31)) + (many ? 200 : 0);
  alignas(64) uint8_t tables[256 * 32];
  for (uint8_t& value : tables)
    value = static_cast<uint8_t>(random() % 2 ? largest : random() % (largest + 1));
  NibbleTile t{tile.x.data(),
               0,
               taps,
               bytes,
               tables,
               w.data(),
               block,
               255 / largest,
               tile.got.data(),
               STRIDE,
               1 + static_cast<int>(random() % TILE_PIXELS),
               1 + static_cast<int>(random() % TILE_BLOCKS)};
  select_nibbles(isa).run(t);
  t.out = tile.want.data();
  nibbles_reference(t);
  std::vector<uint8_t> codes(random() % 200), packed(codes.size() / 4 + 1), expected = packed;
  for (uint8_t& code : codes) code = random() % 4;
  select_nibbles(isa).pack(codes.data(), static_cast<int64_t>(codes.size()), packed.data());
  pack_pairs_reference(codes.data(), static_cast<int64_t>(codes.size()), expected.data());
  return tile.equal(t.pixels, t.blocks) && packed == expected;
}

bool check_tile8(Isa isa, Random& random) {
  const int count = 1 + static_cast<int>(random() % 40), bits = 1 << random() % 4;
  const int rows = 1 + static_cast<int>(random() % TILE_ROWS);
  const int tiles = 1 + static_cast<int>(random() % JOB_TILES),
            blocks = 1 + static_cast<int>(random() % JOB_BLOCKS);
  const int64_t row_bytes = 1 + random() % 200;
  std::vector<uint8_t> memory(static_cast<size_t>(1000 + TILE_ROWS * row_bytes + STEP_BYTES));
  for (uint8_t& byte : memory) byte = static_cast<uint8_t>(random());
  std::vector<const uint8_t*> x;
  for (int i = 0; i < tiles; ++i) x.push_back(memory.data() + random() % 500);
  std::vector<int64_t> steps;
  for (int i = 0; i < count; ++i) steps.push_back(random() % 500);
  std::vector<uint8_t> w(static_cast<size_t>(blocks * count * tile_bytes(bits)));
  for (uint8_t& value : w) value = static_cast<uint8_t>(random());
  int8_t table[16];
  for (int8_t& value : table) value = static_cast<int8_t>(random());
  alignas(64) uint8_t scratch[TILE_SCRATCH];
  std::vector<int32_t> got(JOB_TILES * TILE_ROWS * STRIDE), want = got;
  TileJob t{x.data(), row_bytes, rows,   steps.data(), count,  w.data(), bits,
            table,    tiles,     blocks, got.data(),   STRIDE, scratch,  nullptr};
  const TileKernel& kernel = select_tile8(isa, rows).kernel;
  kernel.open(rows);
  kernel.run(t);
  kernel.close();
  t.out = want.data();
  tile8_reference(t);
  return got == want;
}

bool check_floats(Isa isa, Random& random) {
  static const int widths[] = {1, 2, 3, 4, 8};
  const int bits = widths[random() % 5], taps = 1 + static_cast<int>(random() % 4);
  const int inner = 1 + static_cast<int>(random() % 70),
            words = (inner + per_word(bits) - 1) / per_word(bits);
  std::vector<float> memory(static_cast<size_t>(7 * inner));
  for (float& value : memory) value = static_cast<float>(static_cast<int32_t>(random())) / 1e9f;
  std::vector<const float*> x;
  for (int i = 0; i < taps * TILE_PIXELS; ++i)
    x.push_back(memory.data() + random() % 6 * static_cast<size_t>(inner));
  const int64_t block = int64_t(taps) * words * LANES;
  std::vector<uint32_t> w(static_cast<size_t>(block * TILE_BLOCKS));
  for (uint32_t& value : w) value = static_cast<uint32_t>(random());
  FloatsTile t{};
  float table[16];
  t.affine = bits == 8 || random() % 2;
  t.slope = static_cast<int32_t>(random() % 3) + 1;
  t.first = static_cast<int32_t>(random() % 300) - 150;
  for (int i = 0; i < 16; ++i) {
    const int code = i & ((1 << bits) - 1);
    table[i] = i > code ? table[code]
                        : static_cast<float>(t.affine ? t.slope * code + t.first
                                                      : static_cast<int32_t>(random() % 600) - 300);
  }
  std::vector<float> got(TILE_PIXELS * STRIDE), want = got;
  t.x = x.data();
  t.taps = taps;
  t.inner = inner;
  t.w = w.data();
  t.block_words = block;
  t.bits = bits;
  t.table = table;
  t.stride = STRIDE;
  t.pixels = 1 + static_cast<int>(random() % TILE_PIXELS);
  t.blocks = 1 + static_cast<int>(random() % TILE_BLOCKS);
  t.out = got.data();
  select_floats(isa).run(t);
  t.out = want.data();
  floats_reference(t);
  return std::memcmp(got.data(), want.data(), got.size() * sizeof(float)) == 0;
}

}  // namespace lowbit
