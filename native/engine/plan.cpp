#include "engine/plan.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <new>

#include "engine/parts.h"
#include "engine/simple_steps.h"

namespace lowbit {

namespace {
// Below this many nanoseconds a step is not worth another thread, which takes some microseconds to come and
// go.
std::atomic<int64_t> worth_splitting{15000};

// Operations of a layer in a nanosecond, roughly what small ones reach (native/README.md has the large ones).
int64_t operations_per_ns(Isa isa) {
  switch (isa) {
    case Isa::amx:
      return 800;
    case Isa::avx512:
      return 400;
    case Isa::avx512bw:
    case Isa::avx2:
      return 150;
    case Isa::neon:
      return 40;
    case Isa::scalar:
      break;
  }
  return 5;
}
constexpr int64_t BYTES_PER_NS = 10;
}  // namespace

void split_from(int64_t ns) { worth_splitting = ns; }

int Plan::add_value(int64_t bytes, Role role) {
  values_.push_back({round_up(bytes + SLACK, 64), role});
  return static_cast<int>(values_.size()) - 1;
}

void Plan::add_step(std::unique_ptr<Step> step, const std::string& name) {
  step->name = name;
  steps_.push_back(std::move(step));
}

void Plan::join() {
  auto pool = std::move(steps_.back());
  steps_.pop_back();
  auto layer = std::move(steps_.back());
  steps_.pop_back();
  steps_.push_back(make_joined(std::move(layer), std::move(pool)));
}

void Plan::finish(bool keep, int64_t input_bytes, int64_t output_bytes, int64_t images) {
  images_ = images;
  input_bytes_ = input_bytes;
  output_bytes_ = output_bytes;
  std::vector<size_t> last(values_.size(), 0);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (int id : steps_[s]->reads) last[static_cast<size_t>(id)] = s;
    for (int id : steps_[s]->writes)
      last[static_cast<size_t>(id)] = std::max(last[static_cast<size_t>(id)], s);
    zeros_ = std::max(zeros_, steps_[s]->zeros);
    scratch_ = std::max(scratch_, steps_[s]->scratch);
  }
  zeros_ = round_up(zeros_ + SLACK, 64);
  scratch_ = round_up(scratch_ + SLACK, 64);
  std::vector<std::vector<size_t>> dying(steps_.size());
  for (size_t id = 0; id < values_.size(); ++id)
    if (!steps_.empty()) dying[last[id]].push_back(id);
  Arena arena;
  offsets_.assign(values_.size(), 0);
  for (size_t id = 0; id < values_.size(); ++id) {
    if (values_[id].role == Role::input) offsets_[id] = Context::INPUT;
    if (values_[id].role == Role::output) offsets_[id] = Context::OUTPUT;
  }
  std::vector<bool> placed(values_.size(), false);
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (int id : steps_[s]->writes) {
      const Value& value = values_[static_cast<size_t>(id)];
      if (value.role != Role::inner || placed[static_cast<size_t>(id)]) continue;
      placed[static_cast<size_t>(id)] = true;
      if (id == steps_[s]->to && !keep && replaces(*steps_[s], last, s)) {
        const auto from = static_cast<size_t>(steps_[s]->from);
        offsets_[static_cast<size_t>(id)] = offsets_[from];
        placed[from] = false;  // its memory lives on
      } else {
        offsets_[static_cast<size_t>(id)] = arena.take(value.bytes);
      }
    }
    if (keep) continue;
    for (size_t id : dying[s])
      if (placed[id]) arena.give(offsets_[id], values_[id].bytes);
  }
  zeros_at_ = arena.size();
}

// Whether nobody reads `from` later, or elsewhere in this step, and both are in the arena and of one size.
bool Plan::replaces(const Step& step, const std::vector<size_t>& last, size_t s) const {
  if (step.from < 0) return false;
  const Value &from = values_[static_cast<size_t>(step.from)], &to = values_[static_cast<size_t>(step.to)];
  return from.role == Role::inner && from.bytes == to.bytes && last[static_cast<size_t>(step.from)] == s &&
         std::count(step.reads.begin(), step.reads.end(), step.from) == 1;
}

Context Plan::make_context(uint8_t* buffer, const uint8_t* input, uint8_t* output, int worker,
                           std::atomic<bool>& bad) const {
  uint8_t* zeros = buffer + zeros_at_;
  return {buffer, offsets_.data(), input, output, zeros, zeros + zeros_ + worker * scratch_, &bad};
}

// Passes of images_ images each, those that nobody else has taken from `next`.
int64_t Plan::run_images(const uint8_t* input, uint8_t* output, int64_t batch, std::atomic<int64_t>& next) {
  auto buffer = buffers_.take(buffer_bytes());
  clear(*buffer);
  int64_t found = -1;
  for (int64_t image; found < 0 && (image = next.fetch_add(images_)) < batch;) {
    std::atomic<bool> bad{false};
    const Context context =
        make_context(buffer->data(), input + image * input_bytes_, output + image * output_bytes_, 0, bad);
    for (const auto& step : steps_) step->run(context, whole(*step, std::min(images_, batch - image)));
    if (bad) found = image;
  }
  buffers_.give(std::move(buffer));
  return found;
}

// Every step on all threads.
int64_t Plan::run_split(const uint8_t* input, uint8_t* output, int64_t batch) {
  const int64_t threads = workers_.threads();
  auto buffer = buffers_.take(buffer_bytes());
  clear(*buffer);
  int64_t found = -1;
  for (int64_t image = 0; image < batch && found < 0; image += images_) {
    std::atomic<bool> bad{false};
    const uint8_t* x = input + image * input_bytes_;
    uint8_t* y = output + image * output_bytes_;
    for (const auto& step : steps_) {
      const int64_t images = std::min(images_, batch - image);
      const Range all = whole(*step, images);
      const Cost work = cost(*step, images);
      if (work.operations / operations_per_ns(isa_) + work.bytes / BYTES_PER_NS < worth_splitting) {
        step->run(make_context(buffer->data(), x, y, 0, bad), all);
      } else {
        const Parts parts(*step, all, threads);
        std::atomic<int64_t> next{0};
        workers_.run([&](int worker) {
          const Context context = make_context(buffer->data(), x, y, worker, bad);
          for (int64_t part; (part = next.fetch_add(1)) < parts.count();)
            step->run(context, parts.range(part));
        });
      }
    }
    if (bad) found = image;
  }
  buffers_.give(std::move(buffer));
  return found;
}

int64_t Plan::run(const uint8_t* input, uint8_t* output, int64_t batch) {
  const int threads = workers_.threads();
  // Whoever is faster takes more of them. All before the first bad row are taken before it is.
  std::atomic<int64_t> next{0};
  const auto owned = threads == 1 ? std::unique_lock<std::mutex>() : workers_.try_acquire();
  if (!owned) return run_images(input, output, batch, next);
  int64_t found = -1;
  if (batch >= threads * images_) {
    std::vector<int64_t> of_worker(static_cast<size_t>(threads), -1);
    workers_.run([&](int worker) {
      try {
        of_worker[static_cast<size_t>(worker)] = run_images(input, output, batch, next);
      } catch (const std::bad_alloc&) {
        if (worker == 0) throw;  // others leave their images, none of which they have taken yet, to this one
      }
    });
    for (int64_t row : of_worker)
      if (row >= 0 && (found < 0 || row < found)) found = row;
  } else {
    found = run_split(input, output, batch);
  }
  return found;
}

bool Plan::checks_input() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->checks_input; });
}

Plan::Cost Plan::cost(const Step& step, int64_t images) const {
  return {step.operations * images / images_,
          step.weight_bytes + (step.bytes - step.weight_bytes) * images / images_};
}

std::vector<std::vector<int64_t>> Plan::profile(const uint8_t* input, uint8_t* output, int64_t images,
                                                int repeats) {
  using Clock = std::chrono::steady_clock;
  auto buffer = buffers_.take(buffer_bytes());
  clear(*buffer);
  std::atomic<bool> bad{false};
  const Context context = make_context(buffer->data(), input, output, 0, bad);
  std::vector<std::vector<int64_t>> times(static_cast<size_t>(repeats));
  for (auto& row : times) {
    for (const auto& step : steps_) {
      const auto start = Clock::now();
      step->run(context, whole(*step, images));
      row.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count());
    }
  }
  buffers_.give(std::move(buffer));
  return times;
}

}  // namespace lowbit
