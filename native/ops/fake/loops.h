// The loops, compiled once for each instruction set. Everything here has internal linkage: the linker must
// not share one instruction set's copy with another's callers.
#pragma once

#include "ops/fake/params.h"

namespace lowbit::fake {
namespace {

constexpr int kLanes = 16;
// Adding and subtracting 1.5 * 2^23 rounds |v| < 2^22 half to even, turns -0.0 into 0.0 and keeps NaN.
constexpr float kRound = 12582912.0f;

inline float clamp(float v, float low, float high) {
  v = v < low ? low : v;
  return v > high ? high : v;
}

// Limits are integers, so rounding after the clamp gives what clamping after the rounding would.
inline float unit(float v, float low, float high) { return (clamp(v, low, high) + kRound) - kRound; }

void uniform_forward(const float* x, float* y, int64_t count, float s, float low, float high) {
  for (int64_t i = 0; i < count; i++) y[i] = s * unit(x[i] / s, low, high);
}

void half_wave_forward(const float* x, float* y, int64_t count, float s, float high) {
  for (int64_t i = 0; i < count; i++) y[i] = x[i] <= 0.0f ? 0.0f : s * unit(x[i] / s, 1.0f, high);
}

void sign_forward(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i++) y[i] = x[i] >= 0.0f ? 1.0f : (x[i] < 0.0f ? -1.0f : x[i]);
}

// Sixteen float64 lanes for each of two sums.
struct Sums {
  double first[kLanes] = {}, second[kLanes] = {};

  void store(double* sums) const {
    sums[0] = sums[1] = 0;
    for (int l = 0; l < kLanes; l++) sums[0] += first[l], sums[1] += second[l];
  }
};

template <class Element>
void walk(int64_t count, double* sums, Element element) {
  Sums total;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    float a[kLanes], b[kLanes];
    for (int l = 0; l < kLanes; l++) element(i + l, a[l], b[l]);
    for (int l = 0; l < kLanes; l++) total.first[l] += static_cast<double>(a[l]);
    for (int l = 0; l < kLanes; l++) total.second[l] += static_cast<double>(b[l]);
  }
  for (int l = 0; i + l < count; l++) {
    float a, b;
    element(i + l, a, b);
    total.first[l] += static_cast<double>(a);
    total.second[l] += static_cast<double>(b);
  }
  total.store(sums);
}

void lsq_backward(const float* __restrict g, const float* __restrict x, float* __restrict dx, int64_t count,
                  float s, float low, float high, double* sums) {
  walk(count, sums, [=](int64_t i, float& a, float& b) {
    const float v = x[i] / s;
    const float passed = (v > low) & (v < high) ? g[i] : 0.0f;
    dx[i] = passed;
    a = g[i] * unit(v, low, high);
    b = passed * x[i];
  });
}

void clip_backward(const float* __restrict g, const float* __restrict x, float* __restrict dx, int64_t count,
                   float low, float high, double* sums) {
  walk(count, sums, [=](int64_t i, float& a, float& b) {
    dx[i] = (x[i] >= low) & (x[i] <= high) ? g[i] : 0.0f;
    a = x[i] > high ? g[i] : 0.0f;
    b = x[i] < low ? g[i] : 0.0f;
  });
}

}  // namespace
}  // namespace lowbit::fake
