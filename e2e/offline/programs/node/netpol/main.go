// Command netpol enforces NetworkPolicies (networking.k8s.io/v1) on a node whose pods reach each other through the
// node's own routing, as with the CNI plugin ptp. For test clusters of one node and IPv4: whenever a pod, namespace or
// policy changes, one nftables table is written anew, in one transaction.
package main

import (
	"log"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// What comes within this time is taken in by one write.
const settle = 50 * time.Millisecond

func main() {
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(kubernetes.NewForConfigOrDie(config), 0)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()

	changed := make(chan struct{}, 1)
	tell := func() {
		select {
		case changed <- struct{}{}:
		default: // somebody has told already
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { tell() },
		UpdateFunc: func(any, any) { tell() },
		DeleteFunc: func(any) { tell() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			log.Fatal(err)
		}
	}
	factory.Start(nil)
	factory.WaitForCacheSync(nil)

	written := ""
	tell()
	for range changed {
		time.Sleep(settle)
		allPods, _ := pods.Lister().List(labels.Everything())
		allNamespaces, _ := namespaces.Lister().List(labels.Everything())
		allPolicies, _ := policies.Lister().List(labels.Everything())
		table := tableFor(newCluster(allPods, allNamespaces, allPolicies), os.Getenv("NODE_NAME"))
		if table == written {
			continue
		}
		if err := write(table); err != nil {
			log.Printf("%v\n%s", err, table)
			time.AfterFunc(time.Second, tell)
			continue
		}
		written = table
		log.Printf("%d policies over %d pods", len(allPolicies), len(allPods))
	}
}

func write(table string) error {
	command := exec.Command("nft", "-f", "-")
	command.Stdin = strings.NewReader(table)
	command.Stderr = os.Stderr
	return command.Run()
}

func newCluster(
	pods []*corev1.Pod, namespaces []*corev1.Namespace, policies []*networkingv1.NetworkPolicy,
) cluster {
	found := cluster{policies: policies, namespaceLabels: map[string]labels.Set{}}
	for _, namespace := range namespaces {
		found.namespaceLabels[namespace.Name] = namespace.Labels
	}
	for _, pod := range pods {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		// The node's own address is no pod's: what its processes do is not for policies.
		if pod.Status.PodIP != "" && !ended && !pod.Spec.HostNetwork {
			found.pods = append(found.pods, pod)
		}
	}
	return found
}
