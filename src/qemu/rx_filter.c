/* SPDX-License-Identifier: Apache-2.0 */
#include "qemu/rx_filter.h"

#include <string.h>

#include "settings/mac.h"

static int parse_mac(const json_t *value, uint8_t mac[6])
{
	const char *text = json_string_value(value);

	return text && mac_parse(text, mac) ? 0 : -EPROTO;
}

/* The addresses of a table; *overflow when there are more than fit. */
static int parse_table(const json_t *table, uint8_t macs[][6], unsigned int *n, bool *overflow)
{
	const json_t *mac;
	size_t i;

	json_array_foreach (table, i, mac) {
		if (i == VPF_MAX_DRIVER_MACS) {
			*overflow = true;
			break;
		}
		if (parse_mac(mac, macs[i]) < 0)
			return -EPROTO;
		++*n;
	}
	return 0;
}

int rx_filter_parse(const json_t *ret, struct rx_filter *filter)
{
	const json_t *info = json_array_get(ret, 0);
	const json_t *promiscuous = json_object_get(info, "promiscuous");
	const json_t *unicast = json_object_get(info, "unicast-table");
	const json_t *groups = json_object_get(info, "multicast-table");
	const char *multicast = json_string_value(json_object_get(info, "multicast"));
	const char *unicast_state = json_string_value(json_object_get(info, "unicast"));
	struct rx_filter f = {.known = true};

	if (json_array_size(ret) != 1 || !json_is_boolean(promiscuous) || !multicast || !unicast_state ||
	    !json_is_array(unicast) || (groups && !json_is_array(groups)) ||
	    parse_mac(json_object_get(info, "main-mac"), f.main_mac) < 0)
		return -EPROTO;
	f.all_multicast = !strcmp(multicast, "all");
	/* "unicast: all" is VIRTIO_NET_CTRL_RX_ALLUNI: every unicast frame, which is the part of promiscuous
	 * mode that matters. */
	f.promiscuous = json_is_true(promiscuous) || !strcmp(unicast_state, "all");
	f.unicast_overflow = json_is_true(json_object_get(info, "unicast-overflow"));
	/* An answer without the groups is treated like one with too many. */
	f.multicast_overflow = !groups || json_is_true(json_object_get(info, "multicast-overflow"));
	if (parse_table(unicast, f.unicast, &f.unicast_n, &f.unicast_overflow) < 0 ||
	    parse_table(groups, f.multicast, &f.multicast_n, &f.multicast_overflow) < 0)
		return -EPROTO;
	if (!strcmp(multicast, "none")) { /* VIRTIO_NET_CTRL_RX_NOMULTI, whatever is in the table */
		f.multicast_n = 0;
		f.multicast_overflow = false;
	}
	*filter = f;
	return 0;
}

bool rx_filter_equal(const struct rx_filter *a, const struct rx_filter *b)
{
	return a->known == b->known && !memcmp(a->main_mac, b->main_mac, 6) &&
	       a->promiscuous == b->promiscuous && a->all_multicast == b->all_multicast &&
	       a->unicast_overflow == b->unicast_overflow && a->unicast_n == b->unicast_n &&
	       !memcmp(a->unicast, b->unicast, sizeof(a->unicast[0]) * a->unicast_n) &&
	       a->multicast_overflow == b->multicast_overflow && a->multicast_n == b->multicast_n &&
	       !memcmp(a->multicast, b->multicast, sizeof(a->multicast[0]) * a->multicast_n);
}
