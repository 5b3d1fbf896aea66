/* The configuration files of a deployment's daemons. One thread. */
#ifndef ALBA_UP_CONFIG_H
#define ALBA_UP_CONFIG_H

#include "alba/deployment.h"
#include "policy/preset.h"

/* Names: "meta", "asd0" …, "proxy", "maintenance", "volumedriver". Each picks its ports. */
int up_config_asd(struct deployment *d, const char *name, const char *node_id, struct err *e);
int up_config_proxy(struct deployment *d, struct err *e);
int up_config_maintenance(struct deployment *d, struct err *e);
int up_config_volumedriver(struct deployment *d, struct err *e);

/* The preset for volumes, fit to so many ASDs and nodes: 4+2 from six ASDs on. */
void up_preset(const struct deployment *d, struct preset *ret_preset);

#define UP_PRESET "volumes"

#endif
