// Maximum and average pools, and the mean over an image.
#include <algorithm>

#include "engine/simple_steps.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"
#include "ops/pool/select.h"

namespace lowbit {

namespace {

constexpr int HEIGHT = 16;  // output pixels of one epilogue call

// First index and number of the indices start, start + step, ... (count of them) inside 0..size - 1.
struct Cut {
  int64_t first, count;
};

Cut cut(int64_t start, int64_t count, int64_t step, int64_t size) {
  const int64_t skip = start >= 0 ? 0 : (-start + step - 1) / step;
  const int64_t first = start + skip * step;
  const int64_t inside = first < size ? (size - first + step - 1) / step : 0;
  return {first, std::min(count - skip, inside)};
}

class PoolStep : public Step {
 public:
  PoolStep(PoolSpec spec, Epilogue epilogue, Isa isa)
      : spec_(std::move(spec)), out_(std::move(epilogue)), run_epilogue_(select_epilogue(isa)) {
    const PoolKernels& kernels = select_pool(isa);
    run_ = spec_.maximum ? (spec_.codes ? kernels.max_codes : kernels.max_floats)
                         : (spec_.codes ? kernels.mean_codes : kernels.mean_floats);
    kernel = std::string(spec_.maximum ? "max_" : "mean_") + (spec_.codes ? "u8_1x16" : "f32_1x16");
    reads = {spec_.value};
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    pixels = spec_.window.out_pixels();
    window = spec_.window;
    pixel_bytes = out_.channels() * (spec_.codes ? 1 : 4);
    row_ = round_up(out_.channels(), LANES);
    scratch = HEIGHT * row_ * 4;
    bytes = spec_.window.height * spec_.window.width * out_.channels() * (spec_.codes ? 1 : 4);
    const Units_& u = spec_.units;
    terms_ = static_cast<int>(std::max<size_t>(1, spec_.scales.size()));
    codes_ = static_cast<int>(u.size()) / terms_;
    affine_ = terms_ == 1 && codes_ > 1;
    for (int i = 2; affine_ && i < codes_; ++i) affine_ = u[size_t(i)] - u[0] == i * (u[1] - u[0]);
    const Window& w = spec_.window;
    for (int64_t y = 0; y < w.out_height; ++y)
      rows_.push_back(cut(y * w.stride_y - w.pad_y, w.kernel_y, w.dilation_y, w.height));
    for (int64_t x = 0; x < w.out_width; ++x)
      columns_.push_back(cut(x * w.stride_x - w.pad_x, w.kernel_x, w.dilation_x, w.width));
  }

  void run(const Context& context, const Range& range) const override {
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch);
    e.row_stride = row_;
    e.terms = 1;
    e.channels = static_cast<int>(out_.channels());
    PoolWindow place = anywhere(context);
    const int64_t width = spec_.window.out_width;
    int64_t y = range.pixel / width, x = range.pixel % width;
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += HEIGHT) {
      e.pixel = pixel;
      e.pixels = static_cast<int>(std::min<int64_t>(HEIGHT, range.pixel_end - pixel));
      for (int p = 0; p < e.pixels; ++p) {
        set(place, y, x);
        run_(place, e.data + p * row_);
        if (++x < width) continue;
        x = 0;
        ++y;
      }
      run_epilogue_(e);
    }
  }

 private:
  using Units_ = std::vector<int32_t>;

  // Everything but rows, columns and their number.
  PoolWindow anywhere(const Context& context) const {
    const Window& w = spec_.window;
    PoolWindow result{};
    result.x = context.read(spec_.value);
    result.width = w.width;
    result.channels = out_.channels();
    result.row_step = w.dilation_y;
    result.column_step = w.dilation_x;
    result.units = spec_.units.data();
    result.scales = spec_.scales.data();
    result.terms = terms_;
    result.codes = codes_;
    result.affine = affine_;
    if (affine_) {
      result.first = spec_.units[0];
      result.slope = spec_.units[1] - spec_.units[0];
    }
    return result;
  }

  void set(PoolWindow& place, int64_t y, int64_t x) const {
    const Cut &rows = rows_[size_t(y)], &columns = columns_[size_t(x)];
    place.row = rows.first, place.rows = rows.count;
    place.column = columns.first, place.columns = columns.count;
    int64_t count = rows.count * columns.count;
    // torch counts the declared padding, but not what `ceil` adds beyond it
    if (spec_.count_pad) {
      const Window& w = spec_.window;
      const int64_t top = y * w.stride_y - w.pad_y, left = x * w.stride_x - w.pad_x;
      count = (std::min(top + w.kernel_y, w.height + w.pad_y) - top) *
              (std::min(left + w.kernel_x, w.width + w.pad_x) - left);
    }
    place.count = spec_.divisor != 0 ? spec_.divisor : static_cast<float>(count);
  }

  PoolSpec spec_;
  Epilogue out_;
  EpilogueKernel run_epilogue_;
  PoolKernel run_;
  int64_t row_;
  int terms_, codes_;
  bool affine_;
  std::vector<Cut> rows_, columns_;  // of every output row and column
};

}  // namespace

std::unique_ptr<Step> make_pool(PoolSpec spec, Epilogue epilogue, Isa isa) {
  return std::make_unique<PoolStep>(std::move(spec), std::move(epilogue), isa);
}

}  // namespace lowbit
