// What happens to a tile of accumulators or floats before it is stored: a list of stages, then a sink.
//
// Arrays have one entry a channel, readable up to 16 entries past the last one; `step` is 0 where one entry
// serves all.
#pragma once

#include <cstdint>

namespace lowbit {

struct Stage {
  enum Kind : int {
    rescale,      // int32 [terms] -> float: float(acc0) * a[0] + float(acc1) * a[1] ... + b
    dequantize,   // int32 -> float: float(v) * p0 (add of codes)
    affine,       // v * a + b
    clip,         // v < p0 ? p0 : v > p1 ? p1 : v
    hardswish,    // v * clip(v + 3, 0, 6) / 6
    leaky,        // v > 0 ? v : v * p0
    quantize,     // float -> code: clip(rint(v / p0 - p1) + p2, p3, p4) - p3
    sign,         // float -> code: v >= 0
    threshold_i,  // int32 -> code: how many t <= v, after v ^ flip
    threshold_f,  // float -> code
    add,          // v + the addend at this pixel and channel
    keep,         // stores v to the sink's floats and goes on
  };
  int kind;
  int step;        // channel step of a: 0 or 1
  int levels;      // thresholds
  int64_t stride;  // from one term of a, or one level of t, to the next
  const float* a;
  const float* b;
  const int32_t* t;  // thresholds, bits of floats for threshold_f; falling channels are flipped already
  const int32_t*
      flip;  // per channel (step as t): all ones (int) or the sign bit (float) where falling; null: none is
  float p0, p1, p2, p3, p4;
};

// Where the result goes; null pointers are left out. Channel c of output pixel p is at p * channels + c.
struct Sink {
  float* floats;
  float* image;  // floats with channel c of pixel p at c * pixels + p
  uint8_t* codes;
  uint32_t* planes;  // [pixel][words][planes]
  int32_t* acc;      // [term][pixel][channels]
  int64_t channels, pixels;
  int64_t term_size;
  int plane_count, plane_words;
};

// Raw sums of one term become accumulators: acc = s * d + corr[channel] + t * sum[pixel].
struct Finish {
  int32_t s, t;
  const int32_t* corr;  // null where there is none
  const int32_t* at;    // corr of output pixel q of the image begins at corr + at[q]; null: at corr, of all
  const int32_t* sum;   // [pixels] sums of activation codes, null where t is 0
};

// Pixels whose rows of data follow each other.
struct Span {
  int32_t row, count;
};

struct EpilogueTile {
  int32_t* data;  // [terms][term_stride], each [pixels][row_stride]; floats are stored as their bits
  int64_t term_stride;
  int64_t row_stride;
  const Span* spans;  // [span_count] of all pixels in their order, or null: pixel p is row p
  int span_count;
  int terms;
  const Finish* finish;  // [terms] or null
  const Stage* stages;
  int stage_count;
  const float* addend;  // [pixels][channels], where a stage adds
  Sink sink;
  int64_t pixel;  // first output pixel
  int pixels;
  int channel;  // first output channel, at column 0 of data
  int channels;
};

using EpilogueKernel = void (*)(const EpilogueTile&);

}  // namespace lowbit
