/* golden_read.c - reads the golden vectors. */
#include "golden.h"

#include <stdlib.h>
#include <string.h>

/* The next word that is in no comment; 0 at the end of the file. */
static int next_word(FILE *file, char word[256])
{
    int c;
    while (fscanf(file, "%255s", word) == 1) {
        if (word[0] != '#')
            return 1;
        do
            c = fgetc(file);
        while (c != '\n' && c != EOF);
    }
    return 0;
}

static size_t read_bytes(const char *digits, uint8_t *out)
{
    size_t count = 0;
    unsigned byte;
    for (; sscanf(digits + 2 * count, "%2x", &byte) == 1; count++)
        out[count] = (uint8_t)byte;
    return count;
}

/* The block behind the word "given" or "answer". Returns 0 where the file ends or makes no sense. */
static int read_block(FILE *file, golden_block *out)
{
    char word[256];
    size_t i = 0;
    if (fscanf(file, "%31s %15s %d", out->name, out->dtype, &out->axes) != 3 || out->axes < 0 || out->axes > 4)
        return 0;
    out->count = 1;
    for (int axis = 0; axis < out->axes; axis++) {
        if (!next_word(file, word))
            return 0;
        out->count *= out->sizes[axis] = strtoul(word, NULL, 10);
    }
    if (strcmp(out->dtype, "uint8") == 0)
        out->bytes = calloc(out->count + 256, 1); /* never NULL, and room for a line */
    else
        out->numbers = calloc(out->count + 1, sizeof(double));
    while (i < out->count && next_word(file, word)) {
        if (out->bytes != NULL)
            i += read_bytes(word, out->bytes + i);
        else
            out->numbers[i++] = strtod(word, NULL);
    }
    return i == out->count;
}

int golden_read(FILE *file, golden_case *out)
{
    char word[256];
    memset(out, 0, sizeof *out);
    if (!next_word(file, word))
        return 0;
    if (strcmp(word, "case") != 0 || fscanf(file, "%31s %95s", out->kind, out->title) != 2)
        return -1;
    while (next_word(file, word) && strcmp(word, "end") != 0) {
        golden_block *block = &out->blocks[out->count];
        if (++out->count > GOLDEN_BLOCKS || strlen(word) > 6)
            return -1;
        strcpy(block->role, word);
        if (!read_block(file, block))
            return -1;
    }
    return strcmp(word, "end") == 0 ? 1 : -1;
}

void golden_free(golden_case *found)
{
    for (int i = 0; i < found->count && i < GOLDEN_BLOCKS; i++) {
        free(found->blocks[i].numbers);
        free(found->blocks[i].bytes);
    }
    found->count = 0;
}

const golden_block *golden_find(const golden_case *in, const char *role, const char *name)
{
    for (int i = 0; i < in->count; i++)
        if (strcmp(in->blocks[i].role, role) == 0 && strcmp(in->blocks[i].name, name) == 0)
            return &in->blocks[i];
    return NULL;
}
