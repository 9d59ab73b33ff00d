/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* MAC addresses: as text, and how those of a virtual PF are chosen.
 *
 * A virtual PF has one MAC, and its functions have consecutive ones: the PF itself its MAC, VF n the MAC plus
 * n + 1. Only the last three bytes count up, so that given MACs stay within their vendor's prefix; a MAC
 * whose VFs would not fit is refused. A generated one is a keyed hash (SipHash-2-4 with a key derived from
 * the machine's identity) of the PF's name: its first byte is x2 (unicast, locally administered, the quadrant
 * of administratively assigned identifiers of IEEE 802c), its last is 00, so that the functions of two
 * generated PFs never overlap in part: either the first five bytes agree or no MAC does. Thread-safety: pure.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/ether.h"

#define MAC_TEXT_MAX 18 /* "xx:xx:xx:xx:xx:xx" with the final NUL */

/* Six pairs of hexadecimal digits separated by ':'; nothing else. On failure `ret` is untouched. */
bool mac_parse(const char *text, uint8_t ret[6]);
const char *mac_format(const uint8_t mac[6], char ret[MAC_TEXT_MAX]); /* returns ret */

/* Whether `count` further MACs fit after `mac` without a carry out of the last three bytes. */
bool mac_has_room(const uint8_t mac[6], unsigned int count);
/* The MAC `n` after `mac`; mac_has_room(mac, n). */
void mac_add(const uint8_t mac[6], unsigned int n, uint8_t ret[6]);
/* Generated MAC for `name`; another one for each `attempt`. */
void mac_generate(const uint8_t key[16], const char *name, unsigned int attempt, uint8_t ret[6]);
