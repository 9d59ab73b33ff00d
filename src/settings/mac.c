/* SPDX-License-Identifier: Apache-2.0 */

#include "settings/mac.h"

#include <stdio.h>
#include <string.h>

#include "util/siphash.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool mac_parse(const char *text, uint8_t ret[6])
{
	uint8_t mac[6];

	if (strlen(text) != MAC_TEXT_MAX - 1)
		return false;
	for (int i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || text[3 * i + 2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret, mac, 6);
	return true;
}

const char *mac_format(const uint8_t mac[6], char ret[MAC_TEXT_MAX])
{
	snprintf(ret, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
		 mac[5]);
	return ret;
}

bool mac_has_room(const uint8_t mac[6], unsigned int count)
{
	return (mac_to_number(mac) & 0xffffff) + count <= 0xffffff;
}

void mac_add(const uint8_t mac[6], unsigned int n, uint8_t ret[6])
{
	mac_from_number(mac_to_number(mac) + n, ret);
}

void mac_generate(const uint8_t key[16], const char *name, unsigned int attempt, uint8_t ret[6])
{
	char input[64];
	uint64_t hash;

	snprintf(input, sizeof(input), "%s/%u", name, attempt);
	hash = siphash24(key, input, strlen(input));
	mac_from_number(hash & 0xffffffffff00, ret);
	ret[0] = (uint8_t)((ret[0] & 0xf0) | 0x02);
}
