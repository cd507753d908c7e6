/* keys.c - what the user presses: on a terminal, or one after another from a text. */
#define _POSIX_C_SOURCE 200809L
#include "keys.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

void keys_open(keys *self, const char *script)
{
    struct termios raw;
    self->script = script;
    self->fd = -1;
    if (script != NULL)
        return;
    self->fd = open("/dev/tty", O_RDONLY | O_CLOEXEC); /* standard input may be the frames */
    if (self->fd < 0 || tcgetattr(self->fd, &self->before) != 0) {
        keys_close(self);
        return;
    }
    raw = self->before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* key by key; Ctrl-C still is a signal */
    tcsetattr(self->fd, TCSANOW, &raw);
}

void keys_close(keys *self)
{
    if (self->fd < 0)
        return;
    tcsetattr(self->fd, TCSANOW, &self->before);
    close(self->fd);
    self->fd = -1;
}

int keys_next(keys *self)
{
    struct pollfd pressed = {0, POLLIN, 0};
    unsigned char key = 0;
    if (self->script != NULL) {
        while (isspace((unsigned char)*self->script))
            self->script++;
        return *self->script == '\0' ? 0 : (unsigned char)*self->script++;
    }
    pressed.fd = self->fd;
    if (self->fd < 0 || poll(&pressed, 1, 0) <= 0 || read(self->fd, &key, 1) != 1)
        return 0;
    return key;
}
