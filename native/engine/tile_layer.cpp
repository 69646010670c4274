// A layer on matrix tiles: up to 96 output pixels of 64 output channels at a time.
#include <algorithm>

#include "engine/layer.h"
#include "engine/layer_terms.h"
#include "engine/overlap.h"
#include "engine/tile_geometry.h"
#include "ops/epilogue/select.h"
#include "ops/lanes.h"
#include "ops/tile8/select.h"

namespace lowbit {

namespace {

constexpr int64_t MANY_TILES = 4;  // as the kernel takes one block at a time from then on
constexpr int64_t ROW = JOB_BLOCKS * LANES, JOB_PIXELS = JOB_TILES * TILE_ROWS;

class TileStep : public Step {
 public:
  TileStep(LayerSpec spec, TileGeometry geometry, LayerTerms layer, Epilogue epilogue, Isa isa)
      : spec_(std::move(spec)),
        geometry_(std::move(geometry)),
        layer_(std::move(layer)),
        out_(std::move(epilogue)),
        kernel_(select_tile8(isa, geometry_.rows).kernel),
        run_epilogue_(select_epilogue(isa)) {
    const auto terms = static_cast<int64_t>(layer_.terms.size()),
               inputs = static_cast<int64_t>(spec_.inputs.size());
    for (const LayerTerm& term : layer_.terms) finish_ = finish_ || term.s != 1 || !term.corr.empty();
    for (const KStep& step : geometry_.steps) offsets_.push_back(step.offset);
    // Pieces of few pixels cost more than the steps can hide.
    overlaps_ = kernel_.overlaps && terms == 1 && layer_.corr_at.empty() && spec_.window.out_width >= LANES &&
                offsets_.size() >= 9;
    at_sums_ = TILE_SCRATCH;
    at_spans_ = at_sums_ + terms * JOB_PIXELS * ROW * 4;
    at_finish_ = at_spans_ + round_up(2 * JOB_PIXELS * static_cast<int64_t>(sizeof(Span)), 64);
    at_copy_ = at_finish_ + round_up(terms * static_cast<int64_t>(sizeof(Finish)), 64);
    copy_stride_ = round_up(geometry_.copy_bytes, 64);
    at_gather_ = at_copy_ + inputs * copy_stride_;
    gather_size_ = geometry_.gathered ? JOB_PIXELS * geometry_.row_bytes : 0;
    scratch = at_gather_ + inputs * gather_size_ + STEP_BYTES;
    pixels = spec_.window.out_pixels();
    if (geometry_.by_rows) grain = row_grain(spec_.window);
    blocks = spec_.groups * layer_.group_blocks;
    for (const InputTerm& input : spec_.inputs) reads.push_back(input.value);
    writes = out_.writes();
    for (int id : out_.reads()) reads.push_back(id);
    out_.share_place(*this);
    operations = 2 * pixels * spec_.channels() * spec_.fan_in();
    weight_bytes = static_cast<int64_t>(layer_.tiles.size());
    bytes = weight_bytes + spec_.window.height * spec_.window.width * spec_.groups * spec_.inner;
    kernel = select_tile8(isa, geometry_.rows).name;
    kernel += "_w" + std::to_string(layer_.terms.front().bits);
    if (terms > 1) kernel += " x" + std::to_string(terms);
  }

  void run(const Context& context, const Range& range) const override {
    const auto& tiles = geometry_.tiles;
    const auto starts_after = [](int64_t p, const PixelTile& t) { return p < t.first_pixel; };
    const int64_t first =
        std::upper_bound(tiles.begin(), tiles.end() - 1, range.pixel, starts_after) - tiles.begin() - 1;
    const int64_t stop =
        std::upper_bound(tiles.begin(), tiles.end() - 1, range.pixel_end - 1, starts_after) - tiles.begin();
    copy(context, first, stop);
    kernel_.open(geometry_.rows);
    const int64_t jobs = (stop - first + JOB_TILES - 1) / JOB_TILES;
    EpilogueTile tile = bind(context);
    Overlap overlap(run_epilogue_, tile);
    for (int64_t job = 0; job < jobs; ++job)
      run_tiles(context, range, first + (stop - first) * job / jobs,
                first + (stop - first) * (job + 1) / jobs, job % 2, tile, overlap);
    overlap.finish();
    kernel_.close();
  }

 private:
  const uint8_t* input(const Context& context, size_t x) const {
    return geometry_.copied ? context.scratch + at_copy_ + static_cast<int64_t>(x) * copy_stride_
                            : context.read(spec_.inputs[x].value);
  }

  uint8_t* gather_at(const Context& context, int64_t x) const {
    return context.scratch + at_gather_ + x * gather_size_;
  }

  void copy(const Context& context, int64_t first, int64_t stop) const {
    if (!geometry_.copied) return;
    int64_t top = spec_.window.out_height, bottom = 0;
    for (int64_t tile = first; tile < stop; ++tile) {
      top = std::min(top, geometry_.tiles[size_t(tile)].top);
      bottom = std::max(bottom, geometry_.tiles[size_t(tile)].bottom);
    }
    for (size_t x = 0; x < spec_.inputs.size(); ++x)
      geometry_.copy(context.read(spec_.inputs[x].value),
                     context.scratch + at_copy_ + static_cast<int64_t>(x) * copy_stride_, top, bottom,
                     layer_.padding[x]);
  }

  // What the epilogue of every job has in common.
  EpilogueTile bind(const Context& context) const {
    EpilogueTile e{};
    out_.bind(context, e);
    e.data = reinterpret_cast<int32_t*>(context.scratch + at_sums_);
    e.term_stride = JOB_PIXELS * ROW;
    e.terms = static_cast<int>(layer_.terms.size());
    if (!finish_) return e;
    auto* finish = reinterpret_cast<Finish*>(context.scratch + at_finish_);
    const int32_t* at = layer_.corr_at.empty() ? nullptr : layer_.corr_at.data();
    for (size_t i = 0; i < layer_.terms.size(); ++i) {
      const LayerTerm& term = layer_.terms[i];
      finish[i] = {term.s, 0, term.corr.empty() ? nullptr : term.corr.data(), at, nullptr};
    }
    e.finish = finish;
    return e;
  }

  void run_tiles(const Context& context, const Range& range, int64_t first, int64_t stop, int64_t turn,
                 EpilogueTile& e, Overlap& overlap) const {
    auto* sums = reinterpret_cast<int32_t*>(context.scratch + at_sums_);
    auto* spans = reinterpret_cast<Span*>(context.scratch + at_spans_) + turn * JOB_PIXELS;
    e.spans = spans;
    e.span_count = 0;
    e.pixel = std::max(range.pixel, geometry_.tiles[size_t(first)].first_pixel);
    const int64_t end = std::min(range.pixel_end, geometry_.tiles[size_t(stop)].first_pixel);
    e.pixels = static_cast<int>(end - e.pixel);
    for (int64_t tile = first; tile < stop; ++tile) {
      for (size_t i = geometry_.tiles[size_t(tile)].first_span;
           i < geometry_.tiles[size_t(tile + 1)].first_span; ++i) {
        const PixelSpan& span = geometry_.spans[i];
        const int64_t skip = std::max<int64_t>(0, e.pixel - span.first_pixel);
        const auto count = static_cast<int32_t>(std::min<int64_t>(span.count, end - span.first_pixel) - skip);
        const auto row = static_cast<int32_t>((tile - first) * geometry_.rows + span.row + skip);
        Span* last = spans + e.span_count - 1;
        if (count <= 0) continue;
        if (e.span_count && row == last->row + last->count) {
          last->count += count;
        } else {
          spans[e.span_count++] = {row, count};
        }
      }
    }
    if (geometry_.gathered)
      for (size_t x = 0; x < spec_.inputs.size(); ++x)
        geometry_.gather(input(context, x), first, stop, gather_at(context, static_cast<int64_t>(x)));
    // Few tiles share the weights of several blocks; many fill the registers with one, whose sums stay near.
    const int64_t most = stop - first < MANY_TILES ? JOB_BLOCKS : 1;
    for (int64_t group = 0; group < spec_.groups; ++group) {
      const int64_t base = group * layer_.group_blocks;
      const int64_t last = std::min(layer_.group_blocks, range.block_end - base);
      for (int64_t block = std::max<int64_t>(0, range.block - base); block < last; block += most) {
        const int wide = static_cast<int>(std::min(most, last - block));
        e.row_stride = wide * LANES;
        e.channel = static_cast<int>(group * spec_.outer + block * LANES);
        e.channels = static_cast<int>(std::min<int64_t>(wide * LANES, spec_.outer - block * LANES));
        if (overlaps_) overlap.next(e);
        for (size_t i = 0; i < layer_.terms.size(); ++i)
          multiply(context, i, sums + static_cast<int64_t>(i) * e.term_stride, group, base + block, wide,
                   first, static_cast<int>(stop - first), overlaps_ ? &overlap : nullptr);
        if (!overlaps_) run_epilogue_(e);
      }
    }
  }

  void multiply(const Context& context, size_t i, int32_t* out, int64_t group, int64_t block, int wide,
                int64_t first, int count, Meanwhile* meanwhile) const {
    const LayerTerm& term = layer_.terms[i];
    const uint8_t* x = input(context, static_cast<size_t>(term.input)) + group * spec_.inner;
    const uint8_t* starts[JOB_TILES];
    for (int tile = 0; tile < count; ++tile)
      starts[tile] = geometry_.gathered
                         ? gather_at(context, term.input) + tile * TILE_ROWS * geometry_.row_bytes
                         : x + geometry_.tiles[size_t(first + tile)].base;
    const auto steps = static_cast<int>(offsets_.size());
    kernel_.run({starts, geometry_.row_bytes, geometry_.rows, offsets_.data(), steps,
                 layer_.tiles.data() + term.weight + block * steps * tile_bytes(term.bits), term.bits,
                 term.table.data(), count, wide, out, wide * LANES, context.scratch, meanwhile});
  }

  LayerSpec spec_;
  TileGeometry geometry_;
  LayerTerms layer_;
  Epilogue out_;
  TileKernel kernel_;
  EpilogueKernel run_epilogue_;
  std::vector<int64_t> offsets_;
  int64_t at_sums_, at_spans_, at_finish_, at_copy_, copy_stride_, at_gather_, gather_size_;
  bool finish_ = false, overlaps_ = false;
};

}  // namespace

std::unique_ptr<Step> make_tile_layer(LayerSpec spec, Epilogue epilogue, Isa isa) {
  TileGeometry geometry(spec.window, spec.groups, spec.inner);
  LayerTerms layer = pack_tile8(spec, geometry.steps);
  return std::make_unique<TileStep>(std::move(spec), std::move(geometry), std::move(layer),
                                    std::move(epilogue), isa);
}

}  // namespace lowbit
