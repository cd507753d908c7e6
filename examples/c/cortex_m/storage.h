/* storage.h - a journal's bytes in memory that outlives the power: FRAM, or RAM with a battery. */
#ifndef STORAGE_H
#define STORAGE_H

#include "edgemeta.h"

#define STORAGE_BYTES 16384u /* of each half: a rewritten journal goes to the other one */

/* `from` a host's file, which stands for what was there when the power came back; `to` it when it goes. */
void storage_from(const char *file);
int storage_to(const char *file);
/* The callbacks for em_journal_open(). */
em_store storage_open(void);

#endif
