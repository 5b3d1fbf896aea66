#ifndef VOLUMEDRIVER_DRIVER_SETTLE_H
#define VOLUMEDRIVER_DRIVER_SETTLE_H

struct driver;

/* Lets the journal go on over a lost frame once nobody needs it to find the loss again. To be
 * called now and then. */
void driver_settle(struct driver *d);

#endif
