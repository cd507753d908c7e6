/* say.h - what goes wrong, on stderr. */
#ifndef SAY_H
#define SAY_H

/* "learn_camera: ..." and a newline. */
void complain(const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 1, 2)))
#endif
    ;
/* What an em_status means to a user. */
const char *meaning(int status);

#endif
