#include "volumedriver/nbd_mail.h"

#include "base/check.h"

static void run_mails(struct nbd_mailbox *box)
{
    struct list now;
    struct list *link;

    list_init(&now);
    uv_mutex_lock(&box->lock);
    list_splice(&now, &box->mails);
    uv_mutex_unlock(&box->lock);
    while ((link = list_pop(&now)) != NULL) {
        struct nbd_mail *mail = container_of(link, struct nbd_mail, link);

        mail->run(mail);
    }
}

static void on_async(uv_async_t *async)
{
    run_mails(async->data);
}

void nbd_mailbox_init(struct nbd_mailbox *box, uv_loop_t *loop)
{
    *box = (struct nbd_mailbox){0};
    list_init(&box->mails);
    CHECK(uv_mutex_init(&box->lock) == 0);
    CHECK(uv_async_init(loop, &box->async, on_async) == 0);
    box->async.data = box;
}

/* uv_async_send() stays inside the lock: the receiver may close the box as soon as it has
 * run the mail. */
void nbd_mailbox_post(struct nbd_mailbox *box, struct nbd_mail *mail, nbd_mail_cb run)
{
    mail->run = run;
    uv_mutex_lock(&box->lock);
    list_push(&box->mails, &mail->link);
    uv_async_send(&box->async);
    uv_mutex_unlock(&box->lock);
}

static void on_closed(uv_handle_t *handle)
{
    struct nbd_mailbox *box = handle->data;

    CHECK(list_empty(&box->mails));
    uv_mutex_destroy(&box->lock);
    box->close_cb(box);
}

void nbd_mailbox_close(struct nbd_mailbox *box, void (*cb)(struct nbd_mailbox *box))
{
    run_mails(box);
    box->close_cb = cb;
    uv_close((uv_handle_t *)&box->async, on_closed);
}
