/* Text inside URIs (RFC 3986). Any thread. */
#ifndef BASE_URI_H
#define BASE_URI_H

/* `text` with everything but letters, digits, "-._~" and the characters of `also_plain` as %XX;
 * free() it. */
char *uri_escape(const char *text, const char *also_plain);

#endif
