/* math.h - constants, and what compilers have instructions for. */
#ifndef EDGEMETA_FREESTANDING_MATH_H
#define EDGEMETA_FREESTANDING_MATH_H

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define fabs(x) __builtin_fabs(x)

#endif
