#ifndef VOLUMEDRIVER_DRIVER_FINISH_H
#define VOLUMEDRIVER_DRIVER_FINISH_H

struct driver;
struct registry_volume;

/* A volume of ours that an earlier process was asked to delete, and began to. */
void driver_finish_add(struct driver *d, const struct registry_volume *record);
/* Deletes what may be tried. To be called now and then. */
void driver_finish_deletes(struct driver *d);
/* The driver stops and no delete is under way. */
void driver_finish_forget(struct driver *d);

#endif
