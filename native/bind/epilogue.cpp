// Python interface of an epilogue.
#include "engine/epilogue.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bind/arrays.h"
#include "bind/bind.h"

namespace lowbit {

void bind_epilogue(nb::module_& m) {
  nb::class_<Epilogue>(m, "Epilogue")
      .def(nb::init<int64_t, int64_t>(), nb::arg("channels"), nb::arg("pixels"))
      .def_rw("floats", &Epilogue::floats)
      .def_rw("image", &Epilogue::image)
      .def_rw("codes", &Epilogue::codes)
      .def_rw("planes", &Epilogue::planes)
      .def_rw("acc", &Epilogue::acc)
      .def_rw("plane_count", &Epilogue::plane_count)
      .def_rw("plane_words", &Epilogue::plane_words)
      .def(
          "rescale",
          [](Epilogue& e, Array<float> c, std::optional<Array<float>> bias) {
            e.rescale(c.data(), static_cast<int64_t>(c.shape(0)), static_cast<int64_t>(c.shape(1)),
                      bias ? bias->data() : nullptr);
          },
          nb::arg("coefficients"), nb::arg("bias").none())
      .def("affine",
           [](Epilogue& e, Array<float> scale, Array<float> shift) { e.affine(scale.data(), shift.data()); })
      .def("clip", [](Epilogue& e, float low, float high) { e.simple(Stage::clip, low, high, 0, 0, 0); })
      .def("hardswish", [](Epilogue& e) { e.simple(Stage::hardswish, 0, 0, 0, 0, 0); })
      .def("leaky", [](Epilogue& e, float slope) { e.simple(Stage::leaky, slope, 0, 0, 0, 0); })
      .def("add", &Epilogue::add)
      .def("keep_floats", &Epilogue::keep_floats)
      .def("sign", [](Epilogue& e) { e.simple(Stage::sign, 0, 0, 0, 0, 0); })
      .def("dequantize", [](Epilogue& e, float scale) { e.simple(Stage::dequantize, scale, 0, 0, 0, 0); })
      .def("quantize", &Epilogue::quantize)
      .def("threshold_int",
           [](Epilogue& e, Array<int32_t> t, Array<uint8_t> descending) {
             e.threshold(false, t.data(), static_cast<int64_t>(t.shape(0)), static_cast<int64_t>(t.shape(1)),
                         descending.data());
           })
      .def("threshold_float", [](Epilogue& e, Array<float> t, Array<uint8_t> descending) {
        e.threshold(true, reinterpret_cast<const int32_t*>(t.data()), static_cast<int64_t>(t.shape(0)),
                    static_cast<int64_t>(t.shape(1)), descending.data());
      });
}

}  // namespace lowbit
