"""An application of SQLAlchemy: core, ORM and pool over psycopg2, and the same model over asyncpg."""

import asyncio
import datetime
import decimal
import os

import sqlalchemy as sa
import sqlalchemy.dialects.postgresql as pg
import sqlalchemy.exc
import sqlalchemy.ext.asyncio
import sqlalchemy.orm as orm

import telling
from telling import at_once, failing, play, tell

Base = orm.declarative_base()
WHERE = "{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format_map(os.environ)


class Author(Base):
    __tablename__ = "author"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String, unique=True, nullable=False)
    born = sa.Column(sa.Date)
    details = sa.Column(pg.JSONB, default=dict)
    tags = sa.Column(pg.ARRAY(sa.String), default=list)
    version = sa.Column(sa.Integer, nullable=False)
    books = orm.relationship("Book", back_populates="author", cascade="all, delete-orphan", order_by="Book.id")
    __mapper_args__ = {"version_id_col": version, "eager_defaults": True}


class Book(Base):
    __tablename__ = "book"
    id = sa.Column(sa.Integer, primary_key=True)
    title = sa.Column(sa.String, nullable=False)
    price = sa.Column(sa.Numeric(10, 2), sa.CheckConstraint("price >= 0", name="no_gifts"))
    written = sa.Column(sa.DateTime(timezone=True), server_default=sa.text("'2024-01-01 00:00+00'"))
    author_id = sa.Column(sa.ForeignKey("author.id"), nullable=False)
    author = orm.relationship(Author, back_populates="books")


def engine(**more):
    more.setdefault("connect_args", {"application_name": "an alchemist"})
    return sa.create_engine(f"postgresql+psycopg2://{WHERE}", **more)


def tell_error(what, error):
    tell(what, type(error).__name__)
    if getattr(error, "orig", None) is not None and error.orig.pgcode:
        telling.tell_error(what, error.orig)


def fails(what, action, *arguments):
    failing(what, action, *arguments, tell_error=tell_error)


def tables():
    with engine().begin() as connection:
        Base.metadata.create_all(connection)
        found = sa.inspect(connection)
        tell("tables", sorted(found.get_table_names()))
        tell("columns", [(column["name"], str(column["type"])) for column in found.get_columns("book")])
        tell("keys", found.get_foreign_keys("book")[0]["referred_table"], found.get_check_constraints("book"),
             found.get_unique_constraints("author"))
        tell("session", connection.scalar(sa.text("SHOW application_name")), connection.dialect.server_version_info[:1])


def work_of_sessions():
    with orm.Session(engine()) as session:
        authors = [Author(name=f"author {i}", born=datetime.date(1900 + i, 1, 1), details={"n": i}, tags=["a", str(i)],
                          books=[Book(title=f"book {i}.{j}", price=decimal.Decimal(j) / 4) for j in range(4)])
                   for i in range(40)]
        session.add_all(authors)
        session.flush()
        tell("keys", [author.id for author in authors[:3]], authors[0].books[0].id, authors[0].books[0].written)
        session.commit()
        loaded = session.execute(sa.select(Author).options(orm.selectinload(Author.books)).order_by(Author.id)).scalars().all()
        tell("loaded", len(loaded), loaded[3].details, loaded[3].tags, [book.title for book in loaded[3].books])
        with session.begin_nested():
            loaded[0].name = "renamed"
        try:
            with session.begin_nested():
                loaded[1].name = "renamed"
        except sqlalchemy.exc.IntegrityError as error:
            tell_error("nested", error)
        tell("names", loaded[0].name, loaded[1].name, loaded[0].version)
        session.commit()
        loaded[2].books.pop()
        session.delete(loaded[5])
        session.commit()
        tell("left", session.query(Book).count(), session.query(Author).count())
        fails("no gifts", add, session, Book(title="x", price=-1, author=loaded[0]))
        session.rollback()
        fails("no author", add, session, Book(title="x"))
        session.rollback()
        other = orm.Session(session.bind)
        theirs = other.get(Author, 1)
        theirs.details = {"changed": True}
        loaded[0].tags = ["lost"]
        session.commit()
        fails("stale", other.commit)
        other.close()
        rows = session.execute(sa.select(Author.name, sa.func.count(Book.id), sa.func.sum(Book.price)).join(Author.books)
                               .group_by(Author.name).having(sa.func.count() > 3).order_by(Author.name).limit(3)).all()
        tell("grouped", rows)
        upsert = pg.insert(Author).values([{"name": f"author {i}", "version": 9} for i in range(38, 42)])
        result = session.execute(upsert.on_conflict_do_update(index_elements=["name"], set_={"version": 10})
                                 .returning(Author.name, Author.version))
        tell("upserted", result.all())
        session.commit()


def add(session, one):
    session.add(one)
    session.flush()


def streams():
    with engine().connect() as connection:
        result = connection.execution_options(stream_results=True, max_row_buffer=20).execute(
            sa.text("SELECT generate_series(1, 500) AS x"))
        tell("stream", sum(row.x for row in result))
        result = connection.execution_options(yield_per=50).execute(sa.text("SELECT generate_series(1, 500) AS x"))
        tell("partitions", [len(part) for part in result.partitions()])
    with engine(isolation_level="AUTOCOMMIT").connect() as connection:
        tell("autocommit", connection.scalar(sa.text("SHOW transaction_isolation")))
        connection.execute(sa.text("VACUUM author"))
    with engine().connect().execution_options(isolation_level="SERIALIZABLE", postgresql_readonly=True) as connection:
        tell("serializable", connection.scalar(sa.text("SHOW transaction_isolation")))
        fails("read only", connection.execute, sa.text("DELETE FROM book"))


def bulk():
    with engine(executemany_mode="values_plus_batch").begin() as connection:
        connection.execute(sa.insert(Book), [{"title": f"bulk {i}", "author_id": 1} for i in range(3000)])
        connection.execute(sa.update(Book).where(Book.title == sa.bindparam("old")).values(price=sa.bindparam("cost")),
                           [{"old": f"bulk {i}", "cost": i} for i in range(300)])
        tell("bulk", connection.execute(sa.select(sa.func.count(), sa.func.sum(Book.price)).where(
            Book.title.like("bulk%"))).one())


def pools():
    shared = engine(pool_size=16, max_overflow=4, pool_pre_ping=True)

    def work(number):
        for turn in range(10):
            try:
                with orm.Session(shared) as session, session.begin():
                    session.add(Book(title=f"of {number}", price=turn, author_id=1))
                    session.flush()
                    if turn % 3 == 0:
                        session.execute(sa.text("SELECT 1/0"))
            except sqlalchemy.exc.DataError:
                pass

    at_once(20, work)
    with shared.connect() as connection:
        tell("pool", connection.execute(sa.select(sa.func.count()).where(Book.title.like("of %"))).one())
        fails("own end", connection.execute, sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        tell("invalidated", connection.invalidated)
    with shared.connect() as connection:
        tell("again", connection.scalar(sa.text("SELECT 1")))
    shared.dispose()


def two_phases():
    with engine().connect() as connection:
        block = connection.begin_twophase(xid="alchemist " + os.environ["PGDATABASE"])
        connection.execute(sa.insert(Author).values(name="twice asked", version=1))
        block.prepare()
        block.commit()
        tell("committed", connection.scalar(sa.select(Author.name).where(Author.name == "twice asked")))


def asynchronous():
    async def body():
        shared = sa.ext.asyncio.create_async_engine(f"postgresql+asyncpg://{WHERE}", pool_size=10)

        async def work(number):
            async with sa.ext.asyncio.AsyncSession(shared) as session:
                for turn in range(5):
                    session.add(Book(title=f"async {number}", price=turn, author_id=1))
                    await session.commit()
                    found = await session.execute(sa.select(sa.func.count()).where(Book.title == f"async {number}"))
                    assert found.scalar() == turn + 1

        await asyncio.gather(*(work(number) for number in range(10)))
        async with shared.connect() as connection:
            result = await connection.stream(sa.select(Book.id).where(Book.title.like("async%")))
            tell("async", len([row async for row in result]))
            try:
                await connection.execute(sa.text("SELECT 1/0"))
            except sqlalchemy.exc.DBAPIError as error:
                tell("async error", type(error).__name__, error.orig.sqlstate)
        # DDL: what was prepared by asyncpg changes its meaning.
        async with shared.begin() as connection:
            await connection.execute(sa.text("ALTER TABLE book ADD COLUMN pages int"))
        for _ in range(3):
            try:
                async with shared.connect() as connection:
                    tell("columns", len((await connection.execute(sa.text("SELECT * FROM book LIMIT 1"))).one()))
                    break
            except sqlalchemy.exc.DBAPIError:
                continue
        await shared.dispose()

    asyncio.run(asyncio.wait_for(body(), 60))


play([tables, work_of_sessions, streams, bulk, pools, two_phases, asynchronous])
