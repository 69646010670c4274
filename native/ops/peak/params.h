// What the processor's arithmetic reaches with every operand in registers: the ceiling that kernels are held
// against. Nothing here computes a result anybody needs.
#pragma once

#include <cstdint>

namespace lowbit {

// bits: a pair of bit planes, exclusive-or, population count, add. bytes: u8 x s8 summed in int32.
// words: s16 x s16 summed in int32. floats: a multiplication and an addition, each rounded. tiles: u8 x s8 by
// matrix registers. nibbles: four one-bit products a byte looked up by a shuffle, and added in bytes.
enum class Arithmetic : int { bits = 0, bytes = 1, words = 2, floats = 3, tiles = 4, nibbles = 5 };

// Executes `rounds` rounds and returns the operations in them, two for a multiply-add.
using PeakLoop = int64_t (*)(int64_t rounds);

}  // namespace lowbit
