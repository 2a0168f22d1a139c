// Runs the sample of docs/other-languages.md, which lies beside it as sample.go: ORIGIN ACCOUNT QUEUE KEY HOST:PORT.
package main

import (
	"context"
	"fmt"
	"os"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	origin, account, queue = os.Args[1], os.Args[2], os.Args[3]
	key, address := os.Args[4], os.Args[5]
	ctx := context.Background()
	client, err := cloudtasks.NewClient(ctx, option.WithEndpoint(address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	check(true, err)
	payload := map[string]string{"order": "42"}
	check(enqueue(ctx, client, "send-receipt", payload, key))
	fmt.Println("enqueued with a key")
	added, err := enqueue(ctx, client, "send-receipt", payload, key)
	check(!added, err)
	fmt.Println("the same key again is a duplicate")
	check(enqueue(ctx, client, "send-receipt", map[string]string{"order": "43"}, ""))
	fmt.Println("enqueued without a key")
}

func check(ok bool, err error) {
	if err != nil || !ok {
		fmt.Fprintln(os.Stderr, "unexpected answer:", ok, err)
		os.Exit(1)
	}
}
