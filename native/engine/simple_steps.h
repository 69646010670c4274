// Steps without weights.
#pragma once

#include <memory>
#include <vector>

#include "engine/epilogue.h"
#include "engine/step.h"
#include "engine/window.h"
#include "ops/isa.h"
#include "ops/pool/params.h"

namespace lowbit {

// Values that an epilogue starts from.
enum class Source : int {
  acc = 0,         // int32 [terms][pixels][channels]
  floats = 1,      // float [pixels][channels]
  image = 2,       // float [channels][pixels], the caller's input
  lookup = 3,      // uint8 [channels][pixels], the caller's input; table [channels][256]
  dequantize = 4,  // codes; table of 256 floats as bits
  add_floats = 5,
  add_codes = 6,  // two codes; table of 256 units
};

std::unique_ptr<Step> make_map(Source source, std::vector<int> inputs, int terms, std::vector<int32_t> table,
                               std::vector<uint8_t> bytes, Epilogue epilogue, Isa isa);

// The input image by stages that treat all channels alike, to codes.
std::unique_ptr<Step> make_image(int input, Epilogue epilogue, Isa isa);

// The caller's bytes [channels][pixels] to codes by table [channels][256].
std::unique_ptr<Step> make_lookup(int input, std::vector<uint8_t> table, int64_t channels, int64_t pixels,
                                  int output);

struct PoolSpec {
  int value = 0;
  bool maximum = false, codes = false, count_pad = false;
  Window window;
  float divisor = 0;  // 0: the window
  std::vector<int32_t> units;
  std::vector<float> scales;
};

// A step and the pool that alone reads what it writes.
std::unique_ptr<Step> make_joined(std::unique_ptr<Step> layer, std::unique_ptr<Step> pool);

std::unique_ptr<Step> make_pool(PoolSpec spec, Epilogue epilogue, Isa isa);

// Channels of several values side by side; element 1 (codes) or 4 (floats) bytes.
std::unique_ptr<Step> make_concat(std::vector<int> inputs, std::vector<int64_t> channels, int64_t pixels,
                                  int element, int output);
// [pixels][channels] to [channels][pixels].
std::unique_ptr<Step> make_transpose(int input, int64_t channels, int64_t pixels, int element, int output);
// Pixels of `size` bytes each.
std::unique_ptr<Step> make_copy(int input, int64_t size, int64_t pixels, int output);
// y times k [pixels], or times a map [pixels][channels] where that is not empty.
std::unique_ptr<Step> make_gain(int y, int k, std::vector<float> map, int64_t channels, int64_t pixels,
                                int output);
// Mean magnitude of the channels under a window, in fixed point: float(sum of rint(|x| * 2^16) * factor).
std::unique_ptr<Step> make_magnitude(int x, int64_t channels, Window window, double factor, int output);
// Codes to planes of groups of channels, or (planes 0) to other codes.
std::unique_ptr<Step> make_split(int input, std::vector<uint8_t> table, int64_t channels, int64_t pixels,
                                 int64_t group, int planes, int output, Isa isa);

}  // namespace lowbit
