/* board.h - what the programs ask of the board: text on the debugger's console, files of its host, and an end. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void say(const char *text);
void say_number(uint32_t number);
/* Ends the program, and the emulator with that exit status. */
void finish(int status);
/* A whole file of the host, of at most `room` bytes; all of one. 0, or -1 where it cannot be. */
int host_read(const char *file, void *data, size_t room, size_t *size);
int host_write(const char *file, const void *data, size_t size);
/* What its clocks say: seconds since 1970 times 2^32, and hundredths of a second since the start. */
uint64_t host_clock(void);
/* The most bytes of stack that were in use so far. */
size_t stack_used(void);

#endif
