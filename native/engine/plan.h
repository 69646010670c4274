// A program lowered to steps, with a place for every value.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/step.h"
#include "engine/workers.h"
#include "ops/isa.h"

namespace lowbit {

// From how many nanoseconds on, as guessed, a step of one image is given to all threads; for tests.
void split_from(int64_t ns);

enum class Role : int { inner = 0, input = 1, output = 2 };

class Plan {
 public:
  // isa: that of the kernels, by which the time of a step is guessed.
  explicit Plan(int threads, Isa isa = Isa::scalar) : isa_(isa), workers_(threads) {}

  int add_value(int64_t bytes, Role role);
  void add_step(std::unique_ptr<Step> step, const std::string& name);

  // Makes one step of the last two: a layer, and the pool that alone reads what it writes.
  void join();

  // Places the values. With `keep` none shares memory with another, so that all can be read after a run.
  // input_bytes and output_bytes are those of one image.
  // images: how many one pass executes as pixels of one, where steps treat every pixel alike.
  void finish(bool keep, int64_t input_bytes, int64_t output_bytes, int64_t images = 1);

  // Executes a batch; safe to call from several threads. Returns an image whose floats a step found to hold
  // NaN or infinity, or -1; checks_input() says whether any step looks.
  int64_t run(const uint8_t* input, uint8_t* output, int64_t batch);
  bool checks_input() const;
  // Executes one image, then calls read(value, its bytes) for each value asked for.
  template <class Read>
  void run_kept(const uint8_t* input, uint8_t* output, const std::vector<int>& values, Read read) {
    auto buffer = buffers_.take(buffer_bytes());
    clear(*buffer);
    std::atomic<bool> bad{false};
    const Context context = make_context(buffer->data(), input, output, 0, bad);
    for (const auto& step : steps_) step->run(context, {0, step->pixels, 0, step->blocks});
    for (int value : values) read(value, context.read(value));
    buffers_.give(std::move(buffer));
  }
  // Nanoseconds of every step of one pass on one thread, one entry a repeat: [repeats][steps].
  // images: at most those of finish().
  std::vector<std::vector<int64_t>> profile(const uint8_t* input, uint8_t* output, int64_t images,
                                            int repeats);

  struct Cost {
    int64_t operations, bytes;
  };
  Cost cost(const Step& step, int64_t images) const;  // of one step of such a pass

  const std::vector<std::unique_ptr<Step>>& steps() const { return steps_; }
  int64_t arena_bytes() const { return zeros_at_ + zeros_ + scratch_; }  // for one image on one thread
  int threads() const { return workers_.threads(); }

 private:
  int64_t buffer_bytes() const { return zeros_at_ + zeros_ + scratch_ * workers_.threads(); }
  // The zeros that padded taps read; everything else in a buffer is written before it is read.
  void clear(const Buffer& buffer) const {
    std::memset(buffer.data() + zeros_at_, 0, static_cast<size_t>(zeros_));
  }
  Context make_context(uint8_t* buffer, const uint8_t* input, uint8_t* output, int worker,
                       std::atomic<bool>& bad) const;
  int64_t run_images(const uint8_t* input, uint8_t* output, int64_t batch, std::atomic<int64_t>& next);
  Range whole(const Step& step, int64_t images) const {
    return {0, images_ == 1 ? step.pixels : images, 0, step.blocks};
  }
  int64_t run_split(const uint8_t* input, uint8_t* output, int64_t batch);

  bool replaces(const Step& step, const std::vector<size_t>& last, size_t s) const;

  struct Value {
    int64_t bytes;
    Role role;
  };
  const Isa isa_;
  std::vector<Value> values_;
  std::vector<int64_t> offsets_;
  std::vector<std::unique_ptr<Step>> steps_;
  int64_t images_ = 1, input_bytes_ = 0, output_bytes_ = 0, zeros_at_ = 0, zeros_ = 0, scratch_ = 0;
  BufferPool buffers_;
  Workers workers_;
};

}  // namespace lowbit
