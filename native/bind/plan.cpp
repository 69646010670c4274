// Python interface of a plan: `lowbit.runtime.engine` lowers a program to calls of these.
#include "engine/plan.h"

#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>

#include "bind/arrays.h"
#include "bind/bind.h"
#include "bind/export.h"
#include "bind/outputs.h"
#include "engine/choose.h"
#include "engine/float_layer.h"
#include "engine/layer.h"
#include "engine/simple_steps.h"

namespace lowbit {

namespace {

// height, width, out_height, out_width, kernel, stride, padding, dilation (pairs), mode
Window to_window(const std::vector<int64_t>& v) {
  if (v.size() != 13) throw nb::value_error("a window has 13 numbers");
  return {
      v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], static_cast<PadMode>(v[12])};
}

struct NativePlan : Plan {
  NativePlan(int isa, int threads) : Plan(threads, static_cast<Isa>(isa)), isa(static_cast<Isa>(isa)) {}
  Isa isa;
  Outputs outputs;
};

using Inputs = std::vector<std::tuple<int, int32_t, int32_t, int32_t, int>>;

LayerSpec to_spec(const std::vector<int64_t>& window, const std::vector<int64_t>& channels,
                  Array<uint8_t> packed, int bits, Array<int32_t> units, bool ones, const Inputs& inputs) {
  LayerSpec spec;
  spec.window = to_window(window);
  spec.groups = channels.at(0), spec.inner = channels.at(1), spec.outer = channels.at(2);
  spec.packed = packed.data();
  spec.bits = bits;
  spec.weight_units = to_units(units);
  spec.ones = ones;
  for (const auto& [value, slope, first, largest, planes] : inputs)
    spec.inputs.push_back({value, slope, first, largest, planes});
  return spec;
}

void add_layer(NativePlan& plan, const std::string& name, const std::string& kind,
               const std::vector<int64_t>& window, const std::vector<int64_t>& channels,
               Array<uint8_t> packed, int bits, Array<int32_t> units, bool ones, const Inputs& inputs,
               const Epilogue& epilogue) {
  plan.add_step(
      make_layer(kind, to_spec(window, channels, packed, bits, units, ones, inputs), epilogue, plan.isa),
      name);
}

void add_direct(NativePlan& plan, const std::string& name, const std::vector<int64_t>& window,
                const std::vector<int64_t>& channels, Array<uint8_t> packed, int bits, Array<int32_t> units,
                bool ones, int input, Array<int32_t> input_units, bool codebook, const Epilogue& epilogue) {
  plan.add_step(make_direct(to_spec(window, channels, packed, bits, units, ones, {{input, 1, 0, 0, 0}}),
                            to_units(input_units), codebook, epilogue, plan.isa),
                name);
}

void add_float_layer(NativePlan& plan, const std::string& name, const std::vector<int64_t>& window,
                     const std::vector<int64_t>& channels, Array<uint8_t> packed, int bits,
                     Array<int32_t> units, Array<float> scales, Array<float> offsets, int input,
                     const Epilogue& epilogue) {
  FloatSpec spec;
  spec.window = to_window(window);
  spec.groups = channels.at(0), spec.inner = channels.at(1), spec.outer = channels.at(2);
  spec.input = input;
  spec.packed = to_vector(packed);
  spec.bits = bits;
  spec.units = to_units(units);
  spec.scales = to_vector(scales);
  spec.width = static_cast<int64_t>(scales.shape(1));
  spec.offsets = to_vector(offsets);
  plan.add_step(make_float_layer(std::move(spec), epilogue, plan.isa), name);
}

void add_weight_only(NativePlan& plan, const std::string& name, const std::vector<int64_t>& window,
                     const std::vector<int64_t>& channels, Array<uint8_t> packed, int bits,
                     Array<int32_t> units, int input, const Epilogue& epilogue) {
  FloatSpec spec;
  spec.window = to_window(window);
  spec.groups = channels.at(0), spec.inner = channels.at(1), spec.outer = channels.at(2);
  spec.input = input;
  spec.packed = to_vector(packed);
  spec.bits = bits;
  spec.units = to_units(units);
  plan.add_step(make_weight_only(spec, epilogue, plan.isa), name);
}

void add_map(NativePlan& plan, const std::string& name, int source, std::vector<int> inputs, int terms,
             Array<int32_t> table, Array<uint8_t> bytes, const Epilogue& epilogue) {
  plan.add_step(make_map(static_cast<Source>(source), std::move(inputs), terms, to_vector(table),
                         to_vector(bytes), epilogue, plan.isa),
                name);
}

void add_pool(NativePlan& plan, const std::string& name, int value, bool maximum, bool codes, bool count_pad,
              float divisor, const std::vector<int64_t>& window, Array<int32_t> units, Array<float> scales,
              const Epilogue& epilogue) {
  PoolSpec spec;
  spec.value = value;
  spec.maximum = maximum;
  spec.codes = codes;
  spec.count_pad = count_pad;
  spec.divisor = divisor;
  spec.window = to_window(window);
  spec.units = to_vector(units);
  spec.scales = to_vector(scales);
  plan.add_step(make_pool(std::move(spec), epilogue, plan.isa), name);
}

// First row that holds NaN or infinity, or -1.
int64_t find_bad_row(const float* x, int64_t batch, int64_t size) {
  for (int64_t row = 0; row < batch; ++row, x += size) {
    uint32_t bad = 0;
    for (int64_t i = 0; i < size; ++i) {
      uint32_t bits;
      __builtin_memcpy(&bits, x + i, 4);
      bad |= (bits & 0x7F800000u) == 0x7F800000u;  // all exponent bits: NaN or infinity
    }
    if (bad) return row;
  }
  return -1;
}

int64_t run_floats(NativePlan& plan, Array<float> x, Target<float> y) {
  const auto batch = static_cast<int64_t>(x.shape(0));
  nb::gil_scoped_release unlocked;
  if (!plan.checks_input()) {
    const int64_t bad = find_bad_row(x.data(), batch, static_cast<int64_t>(x.size()) / batch);
    if (bad >= 0) return bad;
  }
  return plan.run(reinterpret_cast<const uint8_t*>(x.data()), reinterpret_cast<uint8_t*>(y.data()), batch);
}

int64_t run_bytes(NativePlan& plan, Array<uint8_t> x, Target<float> y) {
  nb::gil_scoped_release unlocked;
  plan.run(x.data(), reinterpret_cast<uint8_t*>(y.data()), static_cast<int64_t>(x.shape(0)));
  return -1;
}

}  // namespace

void bind_plan(nb::module_& m) {
  m.def("choose_layer", [](int isa, const std::vector<int64_t>& shape, Array<int32_t> units,
                           const std::vector<int>& x_planes, bool ones, bool codebook, int64_t budget) {
    return choose_layer(static_cast<Isa>(isa),
                        {shape.at(0), shape.at(1), shape.at(2), shape.at(3), shape.at(4), shape.at(5)},
                        to_units(units), x_planes, ones, codebook, budget);
  });
  m.def("isa_present", [](int isa) { return isa_present(static_cast<Isa>(isa)); });
  nb::class_<NativePlan>(m, "Plan")
      .def(nb::init<int, int>(), nb::arg("isa"), nb::arg("threads"))
      .def("value",
           [](NativePlan& p, int64_t bytes, int role) { return p.add_value(bytes, static_cast<Role>(role)); })
      .def("layer", &add_layer)
      .def("direct", &add_direct)
      .def("float_layer", &add_float_layer)
      .def("weight_only", &add_weight_only)
      .def("map", &add_map)
      .def("image", [](NativePlan& p, const std::string& name, int input,
                       const Epilogue& epilogue) { p.add_step(make_image(input, epilogue, p.isa), name); })
      .def("lookup",
           [](NativePlan& p, const std::string& name, int input, Array<uint8_t> table, int64_t channels,
              int64_t pixels, int output) {
             p.add_step(make_lookup(input, to_vector(table), channels, pixels, output), name);
           })
      .def("pool", &add_pool)
      .def("concat",
           [](NativePlan& p, const std::string& name, std::vector<int> inputs, std::vector<int64_t> channels,
              int64_t pixels, int element, int output) {
             p.add_step(make_concat(std::move(inputs), std::move(channels), pixels, element, output), name);
           })
      .def(
          "transpose",
          [](NativePlan& p, const std::string& name, int input, int64_t channels, int64_t pixels, int element,
             int output) { p.add_step(make_transpose(input, channels, pixels, element, output), name); })
      .def("copy", [](NativePlan& p, const std::string& name, int input, int64_t bytes, int64_t pixels,
                      int output) { p.add_step(make_copy(input, bytes, pixels, output), name); })
      .def("split",
           [](NativePlan& p, const std::string& name, int input, Array<uint8_t> table, int64_t channels,
              int64_t pixels, int64_t group, int planes, int output) {
             p.add_step(make_split(input, to_vector(table), channels, pixels, group, planes, output, p.isa),
                        name);
           })
      .def("gain",
           [](NativePlan& p, const std::string& name, int y, int k, Array<float> map, int64_t channels,
              int64_t pixels,
              int output) { p.add_step(make_gain(y, k, to_vector(map), channels, pixels, output), name); })
      .def("magnitude",
           [](NativePlan& p, const std::string& name, int x, int64_t channels,
              const std::vector<int64_t>& window, double factor, int output) {
             p.add_step(make_magnitude(x, channels, to_window(window), factor, output), name);
           })
      .def("join", &Plan::join)
      .def("finish", &Plan::finish)
      .def("output", [](NativePlan& p, const std::vector<size_t>& shape) { return p.outputs.take(shape); })
      .def("run", &run_floats)
      .def("run_bytes", &run_bytes)
      .def("export_values", &export_values<NativePlan>)
      .def("profile",
           [](NativePlan& p, nb::ndarray<nb::c_contig, nb::device::cpu, nb::ro> x, Target<float> y,
              int repeats) {
             nb::gil_scoped_release unlocked;
             return p.profile(static_cast<const uint8_t*>(x.data()), reinterpret_cast<uint8_t*>(y.data()),
                              static_cast<int64_t>(x.shape(0)), repeats);
           })
      .def_prop_ro("arena_bytes", &Plan::arena_bytes)
      .def(
          "steps",
          [](const NativePlan& p, int64_t images) {
            std::vector<std::tuple<std::string, std::string, int64_t, int64_t>> rows;
            for (const auto& step : p.steps()) {
              const Plan::Cost cost = p.cost(*step, images);
              rows.emplace_back(step->name, step->kernel, cost.operations, cost.bytes);
            }
            return rows;
          },
          nb::arg("images") = 1);
}

}  // namespace lowbit
