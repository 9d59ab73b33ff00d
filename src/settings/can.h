/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which of a function's settings a switch can enforce: what a fabric or a datapath offers, and what settings require
 * (the rows of function_fields.c and pf_fields.c). A bit mask; of several missing ones, an error names the lowest.
 */

#define CAN_SPOOFCHK    0x0001u /* spoof check on */
#define CAN_NO_SPOOFCHK 0x0002u /* spoof check off */
#define CAN_VLAN        0x0004u /* access VLAN, 802.1Q */
#define CAN_VLAN_PCP    0x0008u /* … with a priority */
#define CAN_VLAN_AD     0x0010u /* … as 802.1ad */
#define CAN_TRUNK       0x0020u /* a set of VLANs */
#define CAN_ADMIN_MAC   0x0040u /* an administrative MAC: frames for it arrive */
#define CAN_TRUST       0x0080u /* trusted functions may change their MAC, be promiscuous */
#define CAN_MAX_RATE    0x0100u
#define CAN_MIN_RATE    0x0200u
#define CAN_TOTAL_RATE  0x0400u /* pf_policy.max_rate_total */
#define CAN_LINK        0x0800u /* link state enable/disable (vpfd does it itself, through QEMU and the rings) */
#define CAN_CONTROL     0x1000u /* the control channel passes on the PF */
#define CAN_STATS       0x2000u /* statistics for each function */
