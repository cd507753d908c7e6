/* math.h - the constants alone. */
#ifndef EDGEMETA_FREESTANDING_MATH_H
#define EDGEMETA_FREESTANDING_MATH_H

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

#endif
