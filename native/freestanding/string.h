/* string.h - what the core's head asks of a machine without a C library: four functions, which compilers call too. */
#ifndef EDGEMETA_FREESTANDING_STRING_H
#define EDGEMETA_FREESTANDING_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
