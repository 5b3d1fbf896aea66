/* Notes on this machine of volumes that were deleted: home/deleted/UUID, empty files.
 *
 * What the journal holds of a volume is dropped only when such a note says that it may be;
 * that the registry does not know a volume proves nothing. Blocks; before the loop runs, or
 * for one small file. */
#ifndef VOLUMEDRIVER_DRIVER_NOTES_H
#define VOLUMEDRIVER_DRIVER_NOTES_H

#include "base/err.h"

struct journal;

/* Durable when it returns 0. */
int driver_note_deleted(const char *home, const char *uuid, struct err *e);
/* Drops what the journal holds of noted volumes, then the notes that are of no use any more. */
int driver_notes_apply(const char *home, struct journal *journal, struct err *e);

#endif
