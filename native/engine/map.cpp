// Element-wise operations: loads a tile, then lets the epilogue do the rest.
#include <algorithm>

#include "engine/simple_steps.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"

namespace lowbit {

namespace {

constexpr int64_t WIDTH = 64, HEIGHT = 16;  // channels and pixels of a tile
constexpr int64_t LINES = 64;               // of WIDTH numbers that stay in the first-level cache

class MapStep : public Step {
 public:
  MapStep(Source source, std::vector<int> inputs, int terms, std::vector<int32_t> table,
          std::vector<uint8_t> bytes, Epilogue epilogue, Isa isa)
      : source_(source),
        terms_(terms),
        table_(std::move(table)),
        bytes_(std::move(bytes)),
        out_(std::move(epilogue)),
        run_epilogue_(select_epilogue(isa)) {
    static const char* const names[] = {"acc",        "float",     "image",    "lookup",
                                        "dequantize", "add_float", "add_codes"};
    kernel = std::string("map_") + names[static_cast<int>(source)];
    reads = std::move(inputs);
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    pixels = out_.pixels();
    blocks = (out_.channels() + LANES - 1) / LANES;
    flat_ = source == Source::floats && terms == 1 && out_.alike() && out_.channels() % WIDTH == 0;
    scratch = terms * WIDTH * HEIGHT * 4;
    this->bytes = pixels * out_.channels() * (source == Source::acc || source == Source::floats ? 4 : 1);
  }

  void run(const Context& context, const Range& range) const override {
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch);
    e.term_stride = WIDTH * HEIGHT;
    e.row_stride = WIDTH;
    e.terms = terms_;
    if (flat_ && range.block == 0 && range.block_end == blocks) return run_flat(context, range, e);
    const int64_t last = std::min(out_.channels(), range.block_end * LANES);
    for (int64_t pixel = range.pixel; pixel < range.pixel_end; pixel += HEIGHT) {
      e.pixel = pixel;
      e.pixels = static_cast<int>(std::min(HEIGHT, range.pixel_end - pixel));
      for (int64_t channel = range.block * LANES; channel < last; channel += WIDTH) {
        e.channel = static_cast<int>(channel);
        e.channels = static_cast<int>(std::min(WIDTH, last - channel));
        fill(context, e);
        run_epilogue_(e);
      }
    }
  }

 private:
  // Where channels are alike, lines of WIDTH of them are pixels, read where they are.
  void run_flat(const Context& context, const Range& range, EpilogueTile& e) const {
    const int64_t lines = out_.channels() / WIDTH;
    e.row_stride = WIDTH;
    e.channels = static_cast<int>(WIDTH);
    e.sink.channels = WIDTH;
    e.sink.plane_words = static_cast<int>(WIDTH / 32);
    for (int64_t line = range.pixel * lines; line < range.pixel_end * lines; line += LINES) {
      e.pixel = line;
      e.pixels = static_cast<int>(std::min(LINES, range.pixel_end * lines - line));
      // One term is only read.
      e.data = const_cast<int32_t*>(context.read_as<int32_t>(reads[0])) + line * WIDTH;
      run_epilogue_(e);
    }
  }

  void fill(const Context& context, const EpilogueTile& e) const {
    const int64_t channels = out_.channels(), pixels_all = out_.pixels();
    if (source_ == Source::image || source_ == Source::lookup) {
      for (int c = 0; c < e.channels; ++c) {
        const int64_t from = (e.channel + c) * pixels_all + e.pixel;
        if (source_ == Source::image) {
          const auto* x = context.read_as<int32_t>(reads[0]) + from;
          for (int p = 0; p < e.pixels; ++p) e.data[p * WIDTH + c] = x[p];
        } else {
          const uint8_t* x = context.read(reads[0]) + from;
          const uint8_t* table = bytes_.data() + (e.channel + c) * 256;
          for (int p = 0; p < e.pixels; ++p) e.data[p * WIDTH + c] = table[x[p]];
        }
      }
      return;
    }
    for (int term = 0; term < terms_; ++term) {
      for (int p = 0; p < e.pixels; ++p) {
        const int64_t from = term * channels * pixels_all + (e.pixel + p) * channels + e.channel;
        int32_t* to = e.data + term * e.term_stride + p * WIDTH;
        switch (source_) {
          case Source::dequantize: {
            const uint8_t* x = context.read(reads[0]) + from;
            for (int c = 0; c < e.channels; ++c) to[c] = table_[x[c]];
            break;
          }
          case Source::add_codes: {
            const uint8_t *a = context.read(reads[0]) + from, *b = context.read(reads[1]) + from;
            for (int c = 0; c < e.channels; ++c) to[c] = table_[a[c]] + table_[b[c]];
            break;
          }
          case Source::add_floats: {
            const float *a = context.read_as<float>(reads[0]) + from,
                        *b = context.read_as<float>(reads[1]) + from;
            auto* sum = reinterpret_cast<float*>(to);
            for (int c = 0; c < e.channels; ++c) sum[c] = a[c] + b[c];
            break;
          }
          default:
            std::copy_n(context.read_as<int32_t>(reads[0]) + from, e.channels, to);
        }
      }
    }
  }

  Source source_;
  int terms_;
  std::vector<int32_t> table_;
  std::vector<uint8_t> bytes_;
  Epilogue out_;
  EpilogueKernel run_epilogue_;
  bool flat_ = false;
};

}  // namespace

std::unique_ptr<Step> make_map(Source source, std::vector<int> inputs, int terms, std::vector<int32_t> table,
                               std::vector<uint8_t> bytes, Epilogue epilogue, Isa isa) {
  return std::make_unique<MapStep>(source, std::move(inputs), terms, std::move(table), std::move(bytes),
                                   std::move(epilogue), isa);
}

}  // namespace lowbit
