/* board.h - what the program asks of the board: text on the debugger's console, and an end. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void say(const char *text);
void say_number(uint32_t number);
/* Ends the program, and the emulator with that exit status. */
void finish(int status);
/* The most bytes of stack that were in use so far. */
size_t stack_used(void);

#endif
