// Google's client for Go against the emulator: go run . HOST:PORT TARGET. Prints the steps that went well.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	cloudtasks "cloud.google.com/go/cloudtasks/apiv2"
	"cloud.google.com/go/cloudtasks/apiv2/cloudtaskspb"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const parent = "projects/demo/locations/us-central1"

func main() {
	address, target := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	overGrpc, err := cloudtasks.NewClient(ctx,
		option.WithEndpoint(address),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	must(err)
	defer overGrpc.Close()
	check(ctx, "grpc", overGrpc, target)

	overRest, err := cloudtasks.NewRESTClient(ctx, option.WithEndpoint("http://"+address), option.WithoutAuthentication())
	must(err)
	defer overRest.Close()
	check(ctx, "rest", overRest, target)
}

func check(ctx context.Context, name string, client *cloudtasks.Client, target string) {
	queue := parent + "/queues/go-" + name
	create := &cloudtaskspb.CreateQueueRequest{Parent: parent, Queue: &cloudtaskspb.Queue{Name: queue, RetryConfig: &cloudtaskspb.RetryConfig{MinBackoff: durationpb.New(500 * time.Millisecond)}}}
	created, err := client.CreateQueue(ctx, create)
	must(err)
	expect(created.State == cloudtaskspb.Queue_RUNNING, created)
	_, err = client.CreateQueue(ctx, create)
	refused(err, "AlreadyExists", 409)
	queues, listed := client.ListQueues(ctx, &cloudtaskspb.ListQueuesRequest{Parent: parent}), 0
	for {
		one, err := queues.Next()
		if err == iterator.Done {
			break
		}
		must(err)
		if one.Name == queue {
			listed++
		}
	}
	expect(listed == 1, listed)
	updated, err := client.UpdateQueue(ctx, &cloudtaskspb.UpdateQueueRequest{
		Queue:      &cloudtaskspb.Queue{Name: queue, RetryConfig: &cloudtaskspb.RetryConfig{MaxAttempts: 7}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"retry_config.max_attempts"}},
	})
	must(err)
	expect(updated.RetryConfig.MaxAttempts == 7 && updated.RetryConfig.MinBackoff.AsDuration() == 500*time.Millisecond, updated)
	paused, err := client.PauseQueue(ctx, &cloudtaskspb.PauseQueueRequest{Name: queue})
	must(err)
	expect(paused.State == cloudtaskspb.Queue_PAUSED, paused)
	fmt.Println(name + ": queues")

	run := queue + "/tasks/run"
	request := func(task string, at *timestamppb.Timestamp) *cloudtaskspb.CreateTaskRequest {
		return &cloudtaskspb.CreateTaskRequest{Parent: queue, Task: &cloudtaskspb.Task{
			Name:         task,
			ScheduleTime: at,
			MessageType:  &cloudtaskspb.Task_HttpRequest{HttpRequest: &cloudtaskspb.HttpRequest{Url: target + "/go/" + name, Body: []byte("hello")}},
		}}
	}
	stored, err := client.CreateTask(ctx, request(run, nil))
	must(err)
	expect(stored.GetHttpRequest().HttpMethod == cloudtaskspb.HttpMethod_POST && len(stored.GetHttpRequest().Body) == 0, stored)
	_, err = client.CreateTask(ctx, request(run, nil))
	refused(err, "AlreadyExists", 409)
	later := queue + "/tasks/later"
	_, err = client.CreateTask(ctx, request(later, timestamppb.New(time.Now().Add(time.Hour))))
	must(err)
	full, err := client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: run, ResponseView: cloudtaskspb.Task_FULL})
	must(err)
	expect(string(full.GetHttpRequest().Body) == "hello", full)
	must(client.DeleteTask(ctx, &cloudtaskspb.DeleteTaskRequest{Name: later}))
	_, err = client.GetTask(ctx, &cloudtaskspb.GetTaskRequest{Name: later})
	refused(err, "NotFound", 404)
	tasks, waiting := client.ListTasks(ctx, &cloudtaskspb.ListTasksRequest{Parent: queue}), 0
	for {
		_, err := tasks.Next()
		if err == iterator.Done {
			break
		}
		must(err)
		waiting++
	}
	expect(waiting == 1, waiting)
	dispatched, err := client.RunTask(ctx, &cloudtaskspb.RunTaskRequest{Name: run})
	must(err)
	expect(dispatched.DispatchCount == 1, dispatched)
	fmt.Println(name + ": tasks")

	resumed, err := client.ResumeQueue(ctx, &cloudtaskspb.ResumeQueueRequest{Name: queue})
	must(err)
	expect(resumed.State == cloudtaskspb.Queue_RUNNING, resumed)
	purged, err := client.PurgeQueue(ctx, &cloudtaskspb.PurgeQueueRequest{Name: queue})
	must(err)
	expect(purged.PurgeTime != nil, purged)
	must(client.DeleteQueue(ctx, &cloudtaskspb.DeleteQueueRequest{Name: queue}))
	_, err = client.GetQueue(ctx, &cloudtaskspb.GetQueueRequest{Name: queue})
	refused(err, "NotFound", 404)
	fmt.Println(name + ": purge and delete")
}

// refused wants an error with the code of gRPC or, over REST, the status of HTTP.
func refused(err error, code string, status int) {
	var refusal *apierror.APIError
	if !errors.As(err, &refusal) || (refusal.GRPCStatus().Code().String() != code && refusal.HTTPCode() != status) {
		panic(fmt.Sprintf("not refused with %s: %v", code, err))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func expect(holds bool, got any) {
	if !holds {
		panic(fmt.Sprintf("unexpected: %v", got))
	}
}
