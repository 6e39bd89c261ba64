"""Two clients that make a script's client meet, at each of its steps, a server that somebody else has just had and changed."""

import wire
from wire import SYNC, bind, close, execute, parse, query

PATIENCE = 0.1  # seconds: who has to wait for longer waits for the script's own client, and is left waiting


class Mover:
    def __init__(self, client):
        self.client, self.pending = client, 0

    def sends(self, data, answers):
        self.client.send(data)
        self.pending += answers

    def answered(self, within):
        """Whether everything it has asked is answered."""
        patience, self.client.timeout = self.client.timeout, within
        self.client.socket.settimeout(within)
        try:
            while self.pending:
                self.client.ready()
                self.pending -= 1
            return True
        except wire.Late:
            return False
        finally:
            self.client.timeout = patience
            self.client.socket.settimeout(patience)

    def asks(self, data, answers):
        if not self.answered(0.001):
            return False
        self.sends(data, answers)
        return self.answered(PATIENCE)


class Movers:
    """On a pool of two servers: while one of the clients holds a server in a block, the other leaves its own session on what
    is left; the block ends when the step is on its way."""

    def __init__(self, connect):
        self.two = Mover(connect()), Mover(connect())
        self.moves = 0  # steps that met what the second one had left, or a server of its own

    def before(self, number):
        holder, changer = self.two[number % 2], self.two[1 - number % 2]
        held = holder.asks(query("BEGIN; SELECT 1"), 1)
        settings = query(f"SET work_mem = '{number + 9}MB'; SET search_path = nowhere{number}; SET TimeZone = 'Africa/Tunis'")
        statement = close("S", "s1") + parse("s1", f"SELECT 'of a neighbour {number}'") + bind("", "s1") + execute() + SYNC
        self.moves += changer.asks(settings + statement, 2) and held
        return lambda: holder.sends(query("COMMIT"), 1)

    def close(self):
        for mover in self.two:
            mover.client.drop()
