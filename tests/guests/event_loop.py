"""Makes an event loop at its import, with a task that serves."""

import asyncio
import secrets
import time

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
questions = asyncio.Queue()


async def serve():
    while True:
        question, answer = await questions.get()
        answer.set_result(question)


async def ask(question, until):
    await asyncio.to_thread(time.sleep, max(0.0, until - time.time()))
    answer = loop.create_future()
    await questions.put((question, answer))
    return await answer


service = loop.create_task(serve())
loop.run_until_complete(asyncio.sleep(0))


def handler(event, context):
    began = time.time()
    question = secrets.token_hex(8)
    answer = loop.run_until_complete(ask(question, event.get("until", 0.0)))
    return {
        "began": began,
        "is_own": answer == question,
        "instance": context.log_stream_name,
    }
