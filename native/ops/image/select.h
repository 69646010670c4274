// Chooses the kernel that quantizes images: one source, compiled for each instruction set.
#pragma once

#include "ops/image/params.h"
#include "ops/isa.h"

namespace lowbit {

bool image_16x16_portable(const ImageTile&);
bool image_16x16_avx2(const ImageTile&);
bool image_16x16_avx512bw(const ImageTile&);

struct ImageChoice {
  ImageKernel run;
  const char* name;
};

inline ImageChoice select_image(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512bw) return {image_16x16_avx512bw, "image_16x16_avx512bw"};
  if (isa == Isa::avx2) return {image_16x16_avx2, "image_16x16_avx2"};
#endif
  (void)isa;
  return {image_16x16_portable, "image_16x16_portable"};
}

}  // namespace lowbit
