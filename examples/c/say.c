/* say.c - what goes wrong, on stderr. */
#include "say.h"

#include <stdarg.h>
#include <stdio.h>

#include "edgemeta.h"

void complain(const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    fputs("learn_camera: ", stderr);
    vfprintf(stderr, format, rest);
    fputc('\n', stderr);
    va_end(rest);
}

const char *meaning(int status)
{
    switch (status) {
    case EM_ERR_SIZE:
        return "a size that cannot be";
    case EM_ERR_VALUE:
        return "a value that cannot be: a label without a visible character, or numbers beyond their range";
    case EM_ERR_STATE:
        return "another program writes it, or the disk failed before";
    case EM_ERR_FULL:
        return "no room left; give more with --classes or --examples";
    case EM_ERR_NOT_FOUND:
        return "there is no such file or folder";
    case EM_ERR_IO:
        return "it cannot be read or written; look at its owner, its mode and the space on the disk";
    case EM_ERR_DAMAGED:
        return "it is damaged; for a journal try: edgemeta repair";
    case EM_ERR_VERSION:
        return "it was made by a later version";
    case EM_ERR_MISMATCH:
        return "it was taught with another bundle, or holds numbers instead of classes";
    case EM_ERR_UNSUPPORTED:
        return "it holds sealed examples, or undoing would bring some back; this head cannot";
    default:
        return em_status_name(status);
    }
}
