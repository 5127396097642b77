package node

// infinibandFile is a file below the directory of a port, and the family that
// it becomes, without node_infiniband_ and _total.
type infinibandFile struct {
	file, name, help string
	factor           float64 // 0 means 1
}

// infinibandLanes is what the counters of data are divided by, whatever the
// width of the port.
const infinibandLanes = 4

// infinibandCounters are all that are exposed: counters as the InfiniBand
// specification defines them, those of counters_ext of kernels before 4.5, and
// those of the hardware, most of which Mellanox' drivers have.
func infinibandCounters() []infinibandFile {
	return []infinibandFile{
		{file: "counters/excessive_buffer_overrun_errors", name: "excessive_buffer_overrun_errors",
			help: "Consecutive flow control updates with an overrun of buffers."},
		{file: "counters/link_downed", name: "link_downed", help: "Times the link failed to recover and went down."},
		{file: "counters/link_error_recovery", name: "link_error_recovery", help: "Times the link recovered from an error."},
		{file: "counters/local_link_integrity_errors", name: "local_link_integrity_errors",
			help: "Times that local physical errors exceeded their threshold."},
		{file: "counters/multicast_rcv_packets", name: "multicast_packets_received", help: "Multicast packets received, errors included."},
		{file: "counters/multicast_xmit_packets", name: "multicast_packets_transmitted", help: "Multicast packets sent, errors included."},
		{file: "counters/port_rcv_constraint_errors", name: "port_constraint_errors_received",
			help: "Packets received on the physical port of a switch and discarded."},
		{file: "counters/port_rcv_data", name: "port_data_received_bytes", help: "Bytes received on all lanes.", factor: infinibandLanes},
		{file: "counters/port_rcv_discards", name: "port_discards_received",
			help: "Received packets discarded since the port was down or congested."},
		{file: "counters/port_rcv_errors", name: "port_errors_received", help: "Packets with an error received."},
		{file: "counters/port_rcv_packets", name: "port_packets_received", help: "Packets received on all virtual lanes."},
		{file: "counters/port_rcv_remote_physical_errors", name: "port_receive_remote_physical_errors",
			help: "Received packets marked as bad by their sender."},
		{file: "counters/port_rcv_switch_relay_errors", name: "port_receive_switch_relay_errors",
			help: "Packets that the switch could not forward."},
		{file: "counters/port_xmit_constraint_errors", name: "port_constraint_errors_transmitted",
			help: "Packets not sent from the physical port of a switch."},
		{file: "counters/port_xmit_data", name: "port_data_transmitted_bytes", help: "Bytes sent on all lanes.", factor: infinibandLanes},
		{file: "counters/port_xmit_discards", name: "port_discards_transmitted",
			help: "Packets to send discarded since the port was down or congested."},
		{file: "counters/port_xmit_packets", name: "port_packets_transmitted", help: "Packets sent on all virtual lanes."},
		{file: "counters/port_xmit_wait", name: "port_transmit_wait", help: "Ticks with data to send and none sent."},
		{file: "counters/symbol_error", name: "symbol_error", help: "Minor errors of physical lanes."},
		{file: "counters/unicast_rcv_packets", name: "unicast_packets_received", help: "Unicast packets received, errors included."},
		{file: "counters/unicast_xmit_packets", name: "unicast_packets_transmitted", help: "Unicast packets sent, errors included."},
		{file: "counters/VL15_dropped", name: "vl15_dropped", help: "Management packets dropped for lack of resources."},

		{file: "counters_ext/port_multicast_rcv_packets", name: "legacy_multicast_packets_received", help: "Multicast packets received."},
		{file: "counters_ext/port_multicast_xmit_packets", name: "legacy_multicast_packets_transmitted", help: "Multicast packets sent."},
		{file: "counters_ext/port_rcv_data_64", name: "legacy_data_received_bytes", help: "Bytes received on all lanes.", factor: infinibandLanes},
		{file: "counters_ext/port_rcv_packets_64", name: "legacy_packets_received", help: "Packets received."},
		{file: "counters_ext/port_unicast_rcv_packets", name: "legacy_unicast_packets_received", help: "Unicast packets received."},
		{file: "counters_ext/port_unicast_xmit_packets", name: "legacy_unicast_packets_transmitted", help: "Unicast packets sent."},
		{file: "counters_ext/port_xmit_data_64", name: "legacy_data_transmitted_bytes", help: "Bytes sent on all lanes.", factor: infinibandLanes},
		{file: "counters_ext/port_xmit_packets_64", name: "legacy_packets_transmitted", help: "Packets sent."},

		{file: "hw_counters/duplicate_request", name: "duplicate_requests_packets", help: "Received requests that were executed before."},
		{file: "hw_counters/implied_nak_seq_err", name: "implied_nak_seq_errors", help: "Acknowledgements ahead of what was expected."},
		{file: "hw_counters/local_ack_timeout_err", name: "local_ack_timeout_errors", help: "Times an acknowledgement came too late."},
		{file: "hw_counters/np_cnp_sent", name: "np_cnp_packets_sent", help: "Notifications of congestion sent."},
		{file: "hw_counters/np_ecn_marked_roce_packets", name: "np_ecn_marked_roce_packets_received",
			help: "RoCE packets received with a mark of congestion."},
		{file: "hw_counters/out_of_buffer", name: "out_of_buffer_drops", help: "Packets dropped for lack of receive work requests."},
		{file: "hw_counters/out_of_sequence", name: "out_of_sequence_packets_received", help: "Packets received out of sequence."},
		{file: "hw_counters/packet_seq_err", name: "packet_sequence_errors", help: "Refusals received for the sequence of packets."},
		{file: "hw_counters/req_cqe_error", name: "req_cqes_errors", help: "Completions with an error at the requester."},
		{file: "hw_counters/req_cqe_flush_error", name: "req_cqes_flush_errors", help: "Completions flushed at the requester."},
		{file: "hw_counters/req_remote_access_errors", name: "req_remote_access_errors", help: "Remote access errors at the requester."},
		{file: "hw_counters/req_remote_invalid_request", name: "req_remote_invalid_request_errors",
			help: "Requests that the remote side called invalid."},
		{file: "hw_counters/resp_cqe_error", name: "resp_cqes_errors", help: "Completions with an error at the responder."},
		{file: "hw_counters/resp_cqe_flush_error", name: "resp_cqes_flush_errors", help: "Completions flushed at the responder."},
		{file: "hw_counters/resp_local_length_error", name: "resp_local_length_errors", help: "Local length errors at the responder."},
		{file: "hw_counters/resp_remote_access_errors", name: "resp_remote_access_errors", help: "Remote access errors at the responder."},
		{file: "hw_counters/rnr_nak_retry_err", name: "rnr_nak_retry_packets_received", help: "Refusals received since the receiver was not ready."},
		{file: "hw_counters/roce_adp_retrans", name: "roce_adp_retransmits", help: "Adaptive retransmissions."},
		{file: "hw_counters/roce_adp_retrans_to", name: "roce_adp_retransmits_timeout", help: "Time-outs by adaptive retransmission."},
		{file: "hw_counters/roce_slow_restart", name: "roce_slow_restart_used", help: "Times a slow restart was used."},
		{file: "hw_counters/roce_slow_restart_cnps", name: "roce_slow_restart_cnps", help: "Notifications of congestion by slow restarts."},
		{file: "hw_counters/roce_slow_restart_trans", name: "roce_slow_restart", help: "Changes to the state of slow restart."},
		{file: "hw_counters/rp_cnp_handled", name: "rp_cnp_packets_handled", help: "Notifications of congestion that slowed down sending."},
		{file: "hw_counters/rp_cnp_ignored", name: "rp_cnp_ignored_packets_received", help: "Notifications of congestion that were ignored."},
		{file: "hw_counters/rx_atomic_requests", name: "rx_atomic_requests", help: "Atomic requests received."},
		{file: "hw_counters/rx_dct_connect", name: "rx_dct_connect_requests", help: "Connection requests received."},
		{file: "hw_counters/rx_icrc_encapsulated", name: "rx_icrc_encapsulated_errors", help: "RoCE packets with a wrong checksum."},
		{file: "hw_counters/rx_read_requests", name: "rx_read_requests", help: "Read requests received."},
		{file: "hw_counters/rx_write_requests", name: "rx_write_requests", help: "Write requests received."},
	}
}
