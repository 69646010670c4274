// The caller's float image to codes, checked for NaN and infinity on the way.
#include "engine/simple_steps.h"
#include "ops/image/select.h"

namespace lowbit {

namespace {

class ImageStep : public Step {
 public:
  ImageStep(int input, Epilogue epilogue, Isa isa) : out_(std::move(epilogue)), run_(select_image(isa).run) {
    kernel = select_image(isa).name;
    reads = {input};
    writes = out_.writes();
    pixels = out_.pixels();
    grain = 64;  // what the kernel takes at once
    bytes = pixels * out_.channels() * 5;
    checks_input = true;
  }

  void run(const Context& context, const Range& range) const override {
    EpilogueTile e{};
    out_.bind(context, e);
    const ImageTile tile{
        context.read_as<float>(reads[0]),  pixels,   range.pixel,   range.pixel_end - range.pixel,
        static_cast<int>(out_.channels()), e.stages, e.stage_count, e.sink};
    if (run_(tile)) *context.bad = true;
  }

 private:
  Epilogue out_;
  ImageKernel run_;
};

}  // namespace

std::unique_ptr<Step> make_image(int input, Epilogue epilogue, Isa isa) {
  return std::make_unique<ImageStep>(input, std::move(epilogue), isa);
}

}  // namespace lowbit
