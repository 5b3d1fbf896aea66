#ifndef VOLUMEDRIVER_DRIVER_FULL_H
#define VOLUMEDRIVER_DRIVER_FULL_H

#include <stdbool.h>

struct driver;
struct driver_volume;
struct json_t;

/* Ends writes that waited for room in the journal for too long; says once for whose records they
 * wait, and when that is over. To be called now and then. */
void driver_full_watch(struct driver *d);
/* Writes of it have been waiting for a while. */
bool driver_volume_is_full(const struct driver_volume *v);
/* "well", or who takes the room. */
struct json_t *driver_full_json(const struct driver *d);

#endif
