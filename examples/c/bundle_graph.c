/* bundle_graph.c - the graph in a bundle. Which member it is says manifest.json, whose JSON has one form only
 * (SPEC.md): sorted keys, no spaces, and in "variants" a list of flat objects. */
#include "bundle_graph.h"

#include <string.h>

/* ---- the archive ------------------------------------------------------------------------------------------------ */

static uint32_t load(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

/* CRC-32, four bits at a time: a graph is read once. */
static uint32_t checksum(const uint8_t *data, size_t size)
{
    uint32_t table[16], crc = 0xffffffffu;
    for (uint32_t i = 0; i < 16; i++) {
        table[i] = i;
        for (int k = 0; k < 4; k++)
            table[i] = table[i] >> 1 ^ (0xedb88320u & (0u - (table[i] & 1u)));
    }
    for (size_t i = 0; i < size; i++) {
        crc = crc >> 4 ^ table[(crc ^ data[i]) & 15u];
        crc = crc >> 4 ^ table[(crc ^ data[i] >> 4) & 15u];
    }
    return ~crc;
}

/* A member by name, from the directory at the end; NULL where there is none, or its checksum does not fit. */
static const uint8_t *find_member(const uint8_t *bundle, size_t size, const char *name, size_t *length)
{
    const uint8_t *end = bundle + size - 22, *at = bundle + load(end + 16, 4);
    for (; at < end; at += 46 + load(at + 28, 2) + load(at + 30, 2)) {
        uint32_t named = load(at + 28, 2), header = load(at + 42, 4);
        if (named != strlen(name) || memcmp(at + 46, name, named) != 0)
            continue;
        const uint8_t *data = bundle + header + 30 + named + load(at + 30, 2);
        *length = load(at + 20, 4);
        return checksum(data, *length) == load(at + 16, 4) ? data : NULL;
    }
    return NULL;
}

/* ---- the manifest ----------------------------------------------------------------------------------------------- */

typedef struct text {
    const char *at, *end;
} text;

/* Whether the text goes on with `word`, which is passed over then. */
static int takes(text *in, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, word, size) != 0)
        return 0;
    in->at += size;
    return 1;
}

/* The string that begins here; 0 where none does, or it has escapes: names here need none. out: NULL to skip it. */
static int take_string(text *in, char *out, size_t room)
{
    size_t size = 0;
    if (!takes(in, "\""))
        return 0;
    for (; in->at < in->end && *in->at != '"'; in->at++) {
        if (*in->at == '\\' && (out != NULL || ++in->at == in->end))
            return 0;
        if (out != NULL && size + 1 >= room)
            return 0;
        if (out != NULL)
            out[size++] = *in->at;
    }
    if (out != NULL)
        out[size] = '\0';
    return takes(in, "\"");
}

/* To what follows "variants": in the outermost object. */
static int find_variants(text *in)
{
    int depth = 0;
    while (in->at < in->end) {
        text here = *in;
        if (depth == 1 && takes(&here, "\"variants\":[")) {
            *in = here;
            return 1;
        }
        if (*in->at == '"') {
            if (!take_string(in, NULL, 0))
                return 0;
            continue;
        }
        depth += *in->at == '{' || *in->at == '[';
        depth -= *in->at == '}' || *in->at == ']';
        in->at++;
    }
    return 0;
}

/* One object of the list; its runtime. */
static int take_variant(text *in, bundle_graph *out, char runtime[32])
{
    char key[32], other[32];
    if (!takes(in, "{"))
        return 0;
    do {
        if (!take_string(in, key, sizeof key) || !takes(in, ":"))
            return 0;
        int is = strcmp(key, "interchangeable") == 0
                     ? takes(in, "true") || takes(in, "false")
                     : strcmp(key, "input") == 0    ? take_string(in, out->input, sizeof out->input)
                       : strcmp(key, "output") == 0 ? take_string(in, out->output, sizeof out->output)
                       : strcmp(key, "member") == 0 ? take_string(in, out->member, sizeof out->member)
                       : strcmp(key, "name") == 0   ? take_string(in, out->variant, sizeof out->variant)
                       : strcmp(key, "runtime") == 0 ? take_string(in, runtime, 32)
                                                     : take_string(in, other, sizeof other);
        if (!is)
            return 0;
    } while (takes(in, ","));
    return takes(in, "}");
}

int bundle_graph_find(const void *bundle, size_t size, const char *runtime, bundle_graph *out)
{
    size_t length = 0;
    char found[32] = "";
    const char *manifest = (const char *)find_member(bundle, size, "manifest.json", &length);
    text in;
    in.at = manifest;
    in.end = manifest + length;
    if (manifest == NULL || !find_variants(&in))
        return -1;
    do {
        memset(out, 0, sizeof *out);
        if (!take_variant(&in, out, found))
            return -1;
        if (strcmp(found, runtime) != 0)
            continue;
        out->bytes = find_member(bundle, size, out->member, &out->size);
        return out->bytes == NULL ? -1 : 1;
    } while (takes(&in, ","));
    return 0;
}
