// Sixteen lanes as two AVX2 registers. gcc 12 keeps its own 64-byte vectors in memory where no register is as
// wide, and takes them apart there.
#pragma once

#include <cstdint>

namespace lowbit {
namespace {

template <class E>
struct Halves {
  typedef E Half __attribute__((vector_size(32)));
  Half lo, hi;

  template <class T>
  __attribute__((always_inline)) explicit operator Halves<T>() const {
    return {(typename Halves<T>::Half)lo, (typename Halves<T>::Half)hi};
  }
  __attribute__((always_inline)) E operator[](int i) const { return i < 8 ? lo[i] : hi[i - 8]; }
};

#define LOWBIT_HALVES(OP)                                                                        \
  template <class E>                                                                             \
  __attribute__((always_inline)) inline Halves<E> operator OP(Halves<E> a, Halves<E> b) {        \
    return {a.lo OP b.lo, a.hi OP b.hi};                                                         \
  }                                                                                              \
  template <class E>                                                                             \
  __attribute__((always_inline)) inline Halves<E> operator OP(Halves<E> a, decltype(E()) b) {    \
    return {a.lo OP b, a.hi OP b};                                                               \
  }                                                                                              \
  template <class E>                                                                             \
  __attribute__((always_inline)) inline Halves<E> operator OP(decltype(E()) a, Halves<E> b) {    \
    return {a OP b.lo, a OP b.hi};                                                               \
  }                                                                                              \
  template <class E, class B>                                                                    \
  __attribute__((always_inline)) inline Halves<E>& operator OP## = (Halves<E> & a, const B& b) { \
    return a = a OP b;                                                                           \
  }
LOWBIT_HALVES(+)
LOWBIT_HALVES(-)
LOWBIT_HALVES(*)
LOWBIT_HALVES(/)
LOWBIT_HALVES(&)
LOWBIT_HALVES(|)
LOWBIT_HALVES(^)
#undef LOWBIT_HALVES

#define LOWBIT_HALVES(OP)                                                                       \
  template <class E>                                                                            \
  __attribute__((always_inline)) inline Halves<int32_t> operator OP(Halves<E> a, Halves<E> b) { \
    return {a.lo OP b.lo, a.hi OP b.hi};                                                        \
  }
LOWBIT_HALVES(<)
LOWBIT_HALVES(>)
LOWBIT_HALVES(>=)
LOWBIT_HALVES(==)
LOWBIT_HALVES(!=)
#undef LOWBIT_HALVES

template <class E>
__attribute__((always_inline)) inline Halves<E> operator-(Halves<E> a) {
  return {-a.lo, -a.hi};
}

template <class E>
__attribute__((always_inline)) inline Halves<E> choose(Halves<int32_t> c, Halves<E> a, Halves<E> b) {
  return {c.lo ? a.lo : b.lo, c.hi ? a.hi : b.hi};
}

}  // namespace
}  // namespace lowbit
