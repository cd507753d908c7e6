/* golden.h - reads the golden vectors: tests/golden/vectors.py says what a file is. */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define GOLDEN_BLOCKS 32

typedef struct golden_block {
    char role[8], name[32], dtype[16]; /* role: "given" or "answer" */
    size_t count, sizes[4];
    int axes;
    double *numbers; /* exact for every dtype; NULL for uint8 */
    uint8_t *bytes;  /* of uint8; NULL for others */
} golden_block;

typedef struct golden_case {
    char kind[32], title[96];
    golden_block blocks[GOLDEN_BLOCKS];
    int count;
} golden_case;

/* The next case; 0 at the end of the file, -1 where it makes no sense. golden_free() gives its memory back. */
int golden_read(FILE *file, golden_case *out);
void golden_free(golden_case *found);

/* NULL where there is no such block. */
const golden_block *golden_find(const golden_case *in, const char *role, const char *name);

#endif
