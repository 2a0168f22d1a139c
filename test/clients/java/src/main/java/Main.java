/** Google's clients for Java against the emulator: java Main HOST:PORT TARGET. Prints the steps that went well. */
public final class Main {
  public static void main(String[] args) throws Exception {
    CloudClient.check("grpc", args[0], args[1]);
    CloudClient.check("http-json", args[0], args[1]);
    DiscoveryClient.check(args[0], args[1]);
    // Threads of the transports would keep the program alive for a while.
    System.exit(0);
  }

  static void expect(boolean holds, Object got) {
    if (!holds) throw new AssertionError("unexpected: " + got);
  }

  static void step(String text) {
    System.out.println(text);
  }
}
