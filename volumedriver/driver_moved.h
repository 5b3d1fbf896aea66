#ifndef VOLUMEDRIVER_DRIVER_MOVED_H
#define VOLUMEDRIVER_DRIVER_MOVED_H

struct driver;

/* Lets go of records that keep the journal from going round and count no more, because another
 * journal has their volume. To be called now and then. */
void driver_moved_watch(struct driver *d);

#endif
