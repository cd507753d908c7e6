/* keys.h - what the user presses: on a terminal, or one after another from a text. */
#ifndef KEYS_H
#define KEYS_H

#include <termios.h>

typedef struct keys {
    const char *script; /* what is left of it, NULL for a terminal */
    int fd;             /* the terminal, -1 for none */
    struct termios before;
} keys;

/* script: NULL for the terminal, where there is one. */
void keys_open(keys *self, const char *script);
/* The terminal as it was. */
void keys_close(keys *self);
/* The next key, 0 where none was pressed, or nothing is left of the script. Does not wait. */
int keys_next(keys *self);

#endif
