package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// What is there at one moment; pods are those with an address of their own.
type cluster struct {
	pods            []*corev1.Pod
	policies        []*networkingv1.NetworkPolicy
	namespaceLabels map[string]labels.Set
}

// One direction of one rule: who is at the other end, and on which ports.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

const tableName = "inet spillway-netpol"

// The whole input for nft: for each pod of the node that a policy selects, a chain for each direction that is policed.
// A chain returns what a rule allows and drops the rest, so a packet between two pods has to pass both of theirs.
func tableFor(found cluster, node string) string {
	slices.SortFunc(found.pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.UID, b.UID) })
	slices.SortFunc(found.policies, func(a, b *networkingv1.NetworkPolicy) int { return cmp.Compare(a.UID, b.UID) })
	var chains, jumps strings.Builder
	for index, pod := range found.pods {
		if pod.Spec.NodeName != node {
			continue
		}
		for _, direction := range []networkingv1.PolicyType{networkingv1.PolicyTypeEgress, networkingv1.PolicyTypeIngress} {
			lines, policed := found.linesFor(pod, direction)
			if !policed {
				continue
			}
			name := fmt.Sprintf("%s-%d", strings.ToLower(string(direction)), index)
			fmt.Fprintf(&chains, " chain %s { # %s/%s\n%s  drop\n }\n", name, pod.Namespace, pod.Name, lines)
			fmt.Fprintf(&jumps, "  ip %s %s jump %s\n", own(direction), pod.Status.PodIP, name)
		}
	}
	// "forward" comes after kube-proxy has put a pod's address in the place of a Service's; "input" is what pods send to
	// the node itself, where the API server is. What the node sends to its pods, probes among it, is always allowed.
	return fmt.Sprintf(`table %[1]s {}
delete table %[1]s
table %[1]s {
%[2]s chain police {
  ct state established,related return
%[3]s }
 chain forward { type filter hook forward priority filter - 10; jump police; }
 chain input { type filter hook input priority filter - 10; jump police; }
}
`, tableName, chains.String(), jumps.String())
}

// The lines of what a pod's policies allow in one direction, and whether any policy polices it.
func (found cluster) linesFor(pod *corev1.Pod, direction networkingv1.PolicyType) (string, bool) {
	var lines strings.Builder
	policed := false
	for _, policy := range found.policies {
		if policy.Namespace != pod.Namespace || !selects(&policy.Spec.PodSelector, pod.Labels) || !isFor(policy, direction) {
			continue
		}
		policed = true
		for _, rule := range rulesOf(policy, direction) {
			for _, line := range found.allowed(policy.Namespace, pod, direction, rule) {
				fmt.Fprintf(&lines, "  %s return\n", line)
			}
		}
	}
	return lines.String(), policed
}

// One nft match for each combination of peer and port; an empty list of either allows all.
func (found cluster) allowed(namespace string, pod *corev1.Pod, direction networkingv1.PolicyType, rule rule) []string {
	var lines []string
	if len(rule.peers) == 0 {
		for _, port := range portMatches(rule.ports, pod) {
			lines = append(lines, fmt.Sprintf("ip %s 0.0.0.0/0 %s", other(direction), port))
		}
	}
	for _, peer := range rule.peers {
		if block := peer.IPBlock; block != nil {
			if strings.Contains(block.CIDR, ":") {
				continue // IPv6: no pod here has such an address
			}
			match := fmt.Sprintf("ip %s %s", other(direction), block.CIDR)
			if len(block.Except) > 0 {
				match += fmt.Sprintf(" ip %s != { %s }", other(direction), strings.Join(block.Except, ", "))
			}
			for _, port := range portMatches(rule.ports, pod) {
				lines = append(lines, match+" "+port)
			}
			continue
		}
		for _, there := range found.selected(namespace, peer) {
			listening := pod
			if direction == networkingv1.PolicyTypeEgress {
				listening = there
			}
			for _, port := range portMatches(rule.ports, listening) {
				lines = append(lines, fmt.Sprintf("ip %s %s %s", other(direction), there.Status.PodIP, port))
			}
		}
	}
	return lines
}

// The pods that a peer names by labels; without a selector of namespaces they are in the policy's own.
func (found cluster) selected(namespace string, peer networkingv1.NetworkPolicyPeer) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range found.pods {
		inside := pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			inside = selects(peer.NamespaceSelector, found.namespaceLabels[pod.Namespace])
		}
		if inside && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// The matches of a rule's ports; "" for all of them. A named port is looked up in the pod that listens.
func portMatches(ports []networkingv1.NetworkPolicyPort, listening *corev1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := corev1.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		layer := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+layer)
		case port.Port.Type == intstr.Int && port.EndPort != nil:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", layer, port.Port.IntVal, *port.EndPort))
		case port.Port.Type == intstr.Int:
			matches = append(matches, fmt.Sprintf("%s dport %d", layer, port.Port.IntVal))
		default:
			for _, container := range listening.Spec.Containers {
				for _, named := range container.Ports {
					if named.Name == port.Port.StrVal && named.Protocol == protocol {
						matches = append(matches, fmt.Sprintf("%s dport %d", layer, named.ContainerPort))
					}
				}
			}
		}
	}
	return matches
}

func rulesOf(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) []rule {
	var rules []rule
	if direction == networkingv1.PolicyTypeEgress {
		for _, egress := range policy.Spec.Egress {
			rules = append(rules, rule{egress.To, egress.Ports})
		}
		return rules
	}
	for _, ingress := range policy.Spec.Ingress {
		rules = append(rules, rule{ingress.From, ingress.Ports})
	}
	return rules
}

// Where policyTypes are not stated, a policy is for Ingress, and for Egress when it has rules of that.
// https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/network-policy-v1/#NetworkPolicySpec
func isFor(policy *networkingv1.NetworkPolicy, direction networkingv1.PolicyType) bool {
	if len(policy.Spec.PolicyTypes) > 0 {
		return slices.Contains(policy.Spec.PolicyTypes, direction)
	}
	return direction == networkingv1.PolicyTypeIngress || len(policy.Spec.Egress) > 0
}

func selects(selector *metav1.LabelSelector, set labels.Set) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(set)
}

func own(direction networkingv1.PolicyType) string {
	if direction == networkingv1.PolicyTypeEgress {
		return "saddr"
	}
	return "daddr"
}

func other(direction networkingv1.PolicyType) string {
	if direction == networkingv1.PolicyTypeEgress {
		return "daddr"
	}
	return "saddr"
}
