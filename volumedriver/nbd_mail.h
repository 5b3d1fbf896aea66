/* Messages from one loop's thread to another's: a function to run there.
 *
 * The one lock of the NBD code; taken when a connection changes its thread or ends, never
 * for a request. Mails of one sender run in the order they were posted. */
#ifndef VOLUMEDRIVER_NBD_MAIL_H
#define VOLUMEDRIVER_NBD_MAIL_H

#include <uv.h>

#include "base/list.h"

struct nbd_mail;
typedef void (*nbd_mail_cb)(struct nbd_mail *mail);

struct nbd_mail { /* embedded by the sender; the receiver's from post to run */
    nbd_mail_cb run;
    struct list link; /* private */
};

struct nbd_mailbox {
    uv_async_t async; /* private from here on */
    uv_mutex_t lock;
    struct list mails; /* under lock */
    void (*close_cb)(struct nbd_mailbox *box);
};

/* On the receiving loop's thread, or before that loop runs. */
void nbd_mailbox_init(struct nbd_mailbox *box, uv_loop_t *loop);
/* Any thread. `run` is called once, later, on the receiver's thread; it may free the mail. */
void nbd_mailbox_post(struct nbd_mailbox *box, struct nbd_mail *mail, nbd_mail_cb run);
/* Receiver's thread. Runs what is there; nobody posts any more. Then `cb`, later. */
void nbd_mailbox_close(struct nbd_mailbox *box, void (*cb)(struct nbd_mailbox *box));

#endif
