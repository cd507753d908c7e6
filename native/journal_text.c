/* journal_text.c - what labels must be, in the journal and in head.bin.
 *
 * * Without Unicode tables two things of SPEC.md are not checked: that a text is in the normal form NFC, and that it
 * has a visible character where all it has are combining marks, unassigned or private characters. Spaces, fillers and
 * the format characters of the first plane are known by name. */
#include "journal.h"

/* The character at `at`, which moves on; UINT32_MAX where there is none. */
static uint32_t next_character(const uint8_t *text, size_t size, size_t *at)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint8_t first = text[(*at)++];
    if (first < 0x80)
        return first;
    unsigned more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
    if (first < 0xc2 || first > 0xf4 || size - *at < more)
        return UINT32_MAX;
    uint32_t found = first & (0x3fu >> more);
    for (unsigned i = 0; i < more; i++) {
        uint8_t byte = text[(*at)++];
        if ((byte & 0xc0) != 0x80)
            return UINT32_MAX;
        found = found << 6 | (byte & 0x3fu);
    }
    if (found < least[more] || found > 0x10ffff || (found >= 0xd800 && found <= 0xdfff))
        return UINT32_MAX;
    return found;
}

int emj_is_utf8(const uint8_t *text, size_t size)
{
    for (size_t at = 0; at < size;)
        if (next_character(text, size, &at) == UINT32_MAX)
            return 0;
    return 1;
}

static int is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029;
}

/* Spaces, format characters, the fillers that count as letters, noncharacters and private ones. */
static int is_invisible(uint32_t c)
{
    static const uint32_t ranges[][2] = {
        {0x20, 0x20},     {0xa0, 0xa0},     {0xad, 0xad},     {0x300, 0x36f},   {0x600, 0x605},     {0x61c, 0x61c},
        {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x115f, 0x1160}, {0x1680, 0x1680}, {0x180b, 0x180f},   {0x2000, 0x200f},
        {0x202a, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000}, {0x3164, 0x3164}, {0xe000, 0xf8ff},   {0xfe00, 0xfe0f},
        {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (c >= ranges[i][0] && c <= ranges[i][1])
            return 1;
    return 0;
}

int emj_is_label(const uint8_t *text, size_t size)
{
    int visible = 0;
    if (size == 0 || size > 255)
        return 0;
    for (size_t at = 0; at < size;) {
        uint32_t c = next_character(text, size, &at);
        if (c == UINT32_MAX || is_control(c))
            return 0;
        visible |= !is_invisible(c);
    }
    return visible;
}

size_t emj_length(const char *text)
{
    size_t size = 0;
    while (size < 256 && text[size] != '\0')
        size++;
    return size;
}
