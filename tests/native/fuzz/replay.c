/* replay.c - the inputs in the files that it is given, through a fuzz target, without libFuzzer. */
#include "fuzz.h"

static int replay(const char *name)
{
    FILE *file = fopen(name, "rb");
    uint8_t *data = malloc((size_t)1 << 20);
    size_t size;
    if (file == NULL || data == NULL) {
        (void)fprintf(stderr, "cannot read %s\n", name);
        return 1;
    }
    size = fread(data, 1, (size_t)1 << 20, file);
    (void)fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int main(int count, char **names)
{
    int failed = 0;
    for (int i = 1; i < count; i++)
        failed |= replay(names[i]);
    (void)printf("%d inputs\n", count - 1);
    return failed;
}
