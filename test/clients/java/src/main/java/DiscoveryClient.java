import com.google.api.client.googleapis.json.GoogleJsonResponseException;
import com.google.api.client.http.javanet.NetHttpTransport;
import com.google.api.client.json.gson.GsonFactory;
import com.google.api.services.cloudtasks.v2.CloudTasks;
import com.google.api.services.cloudtasks.v2.model.CreateTaskRequest;
import com.google.api.services.cloudtasks.v2.model.HttpRequest;
import com.google.api.services.cloudtasks.v2.model.PauseQueueRequest;
import com.google.api.services.cloudtasks.v2.model.PurgeQueueRequest;
import com.google.api.services.cloudtasks.v2.model.Queue;
import com.google.api.services.cloudtasks.v2.model.ResumeQueueRequest;
import com.google.api.services.cloudtasks.v2.model.RetryConfig;
import com.google.api.services.cloudtasks.v2.model.RunTaskRequest;
import com.google.api.services.cloudtasks.v2.model.Task;
import java.io.IOException;

/** The client that Google generates from the discovery document. It gzips every body. */
final class DiscoveryClient {
  private static final String PARENT = "projects/demo/locations/us-central1";
  private static final String QUEUE = PARENT + "/queues/java-discovery";

  private interface Call {
    void run() throws IOException;
  }

  static void check(String address, String target) throws IOException {
    CloudTasks.Projects.Locations.Queues queues = new CloudTasks.Builder(new NetHttpTransport(), GsonFactory.getDefaultInstance(), null)
        .setApplicationName("clients")
        .setRootUrl("http://" + address + "/")
        .build().projects().locations().queues();

    Queue wanted = new Queue().setName(QUEUE).setRetryConfig(new RetryConfig().setMinBackoff("0.500s"));
    Main.expect(queues.create(PARENT, wanted).execute().getState().equals("RUNNING"), QUEUE);
    refused(409, () -> queues.create(PARENT, wanted).execute());
    Queue changed = new Queue().setRetryConfig(new RetryConfig().setMaxAttempts(7));
    Queue updated = queues.patch(QUEUE, changed).setUpdateMask("retryConfig.maxAttempts").execute();
    Main.expect(updated.getRetryConfig().getMaxAttempts() == 7 && updated.getRetryConfig().getMinBackoff().equals("0.500s"), updated);
    Main.expect(queues.get(QUEUE).setFields("state,retryConfig/maxAttempts").execute().getName() == null, QUEUE);
    Main.expect(queues.list(PARENT).setFilter("name:\"" + "x".repeat(3000) + "\" OR name:\"java-discovery\"").execute().getQueues().size() == 1, "a filter that is too long for a URL");
    Main.expect(queues.pause(QUEUE, new PauseQueueRequest()).execute().getState().equals("PAUSED"), QUEUE);
    Main.step("java-discovery: queues");

    String name = QUEUE + "/tasks/run";
    CreateTaskRequest create = new CreateTaskRequest().setTask(new Task().setName(name).setHttpRequest(new HttpRequest().setUrl(target + "/java/java-discovery").encodeBody("hello".getBytes())));
    Main.expect(queues.tasks().create(QUEUE, create).execute().getHttpRequest().getHttpMethod().equals("POST"), name);
    refused(409, () -> queues.tasks().create(QUEUE, create).execute());
    Main.expect(new String(queues.tasks().get(name).setResponseView("FULL").execute().getHttpRequest().decodeBody()).equals("hello"), name);
    Main.expect(queues.tasks().list(QUEUE).execute().getTasks().size() == 1, QUEUE);
    Main.expect(queues.tasks().run(name, new RunTaskRequest()).execute().getDispatchCount() == 1, name);
    CreateTaskRequest other = new CreateTaskRequest().setTask(new Task().setHttpRequest(new HttpRequest().setUrl(target)));
    queues.tasks().delete(queues.tasks().create(QUEUE, other).execute().getName()).execute();
    Main.step("java-discovery: tasks");

    Main.expect(queues.resume(QUEUE, new ResumeQueueRequest()).execute().getState().equals("RUNNING"), QUEUE);
    Main.expect(queues.purge(QUEUE, new PurgeQueueRequest()).execute().getPurgeTime() != null, QUEUE);
    queues.delete(QUEUE).execute();
    refused(404, () -> queues.get(QUEUE).execute());
    Main.step("java-discovery: purge and delete");
  }

  private static void refused(int status, Call call) throws IOException {
    try {
      call.run();
    } catch (GoogleJsonResponseException error) {
      if (error.getStatusCode() == status) return;
      throw error;
    }
    throw new AssertionError("not refused with " + status);
  }
}
