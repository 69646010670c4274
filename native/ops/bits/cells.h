// The walk over pixels, blocks and plane pairs that the vector versions share. `Cells::run<C, P, NW,
// NX>(tile, cell)` handles P pixels and NW x NX planes of one block.
#pragma once

#include "ops/bits/reference.h"

namespace lowbit {
namespace {

template <class Cells, Coding C, int NW, int NX>
LOWBIT_INLINE void walk_pixels(const BitTile& t, BitCell cell) {
  constexpr int P = Cells::template pixels<NW * NX>();
  int p = 0;
  for (; t.pixels - p >= P; p += P) {
    cell.p = p;
    Cells::template run<C, P, NW, NX>(t, cell);
  }
  if constexpr (P > 4) {
    for (; t.pixels - p >= 4; p += 4) {
      cell.p = p;
      Cells::template run<C, 4, NW, NX>(t, cell);
    }
  }
  if constexpr (P > 2) {
    for (; t.pixels - p >= 2; p += 2) {
      cell.p = p;
      Cells::template run<C, 2, NW, NX>(t, cell);
    }
  }
  for (; p < t.pixels; ++p) {
    cell.p = p;
    Cells::template run<C, 1, NW, NX>(t, cell);
  }
}

template <class Cells, Coding C, int NW>
LOWBIT_INLINE void walk_x(const BitTile& t, BitCell cell) {
  for (cell.xj = 0; cell.xj < t.x_planes;) {
    if (t.x_planes - cell.xj >= 2) {
      walk_pixels<Cells, C, NW, 2>(t, cell);
      cell.xj += 2;
    } else {
      walk_pixels<Cells, C, NW, 1>(t, cell);
      cell.xj += 1;
    }
    cell.first = false;
  }
}

template <class Cells, Coding C>
LOWBIT_INLINE void walk_w(const BitTile& t, int b) {
  BitCell cell{0, b, 0, 0, true};
  const int planes = C == Coding::mask ? 1 : t.w_planes;
  while (cell.wi < planes) {
    if (planes - cell.wi >= 2) {
      walk_x<Cells, C, 2>(t, cell);
      cell.wi += 2;
    } else {
      walk_x<Cells, C, 1>(t, cell);
      cell.wi += 1;
    }
    cell.first = false;
  }
}

template <class Cells>
LOWBIT_INLINE void walk(const BitTile& t) {
  for (int b = 0; b < t.blocks; ++b) {
    switch (t.coding) {
      case Coding::and_:
        walk_w<Cells, Coding::and_>(t, b);
        break;
      case Coding::xor_:
        walk_w<Cells, Coding::xor_>(t, b);
        break;
      case Coding::mask:
        walk_w<Cells, Coding::mask>(t, b);
        break;
    }
  }
}

}  // namespace
}  // namespace lowbit
